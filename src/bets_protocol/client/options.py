"""What a client is told once: where the server is, how it speaks, how long it tries."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypedDict, Unpack

import attrs

from bets_protocol.client.events import Event, Listener
from bets_protocol.client.retry import now
from bets_protocol.codec import NEWEST_REVISION
from bets_protocol.connection.turns import CLIENT_REVISIONS
from bets_protocol.errors import ConfigError, RejectCode
from bets_protocol.limits import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_RETRY_FOR_S, DEFAULT_WINDOW, MAX_WINDOW
from bets_protocol.transports import TlsFiles, TlsTransport, Transport, parse_url


@attrs.frozen
class Words:
    """How the caller's user calls what messages speak of."""

    retry_for: str = "retry_for_s"
    revision_8: str = "revision=8"
    ask_again: str = "call winners again"


def ignore(_event: Event) -> None:
    """The listener that does nothing."""


@attrs.frozen(kw_only=True)
class ClientOptions:
    """The settings of a client.

    Attributes:
        url: of the server.
        revision: 5 to 9.
        window: batches that may be sent and not acknowledged, on revisions 8 and 9.
        retry_for_s: seconds without progress until the client gives up.
        idle_timeout_s: seconds of silence, while an answer is due, after which a connection counts as lost.
        transports: by scheme, in place of those that are registered; as `bets_protocol.transports.connect` takes them.
        on_event: called in the thread of the client with everything that happens.
        clock: gives monotonic seconds.
    """

    url: str
    revision: int = NEWEST_REVISION
    window: int = DEFAULT_WINDOW
    retry_for_s: float = DEFAULT_RETRY_FOR_S
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    transports: Mapping[str, Transport] | None = None
    on_event: Listener = ignore
    words: Words = Words()
    clock: Callable[[], float] = now

    @property
    def persistent(self) -> bool:
        """Whether a connection serves more than one message."""
        return self.revision >= 8


class Settings(TypedDict, total=False):
    """The keyword arguments of `connect`, blocking and asyncio, besides the agency and the revision.

    Attributes:
        window: batches that may be sent and not acknowledged, 1 to 1024; on revisions 8 and 9.
        retry_for_s: seconds without progress until the client gives up, 0 or more.
        idle_timeout_s: seconds of silence, while an answer is due, after which a connection counts as lost.
        tls_cert: this agency's certificate (PEM); with its key and the authority it is needed for ``tls://``.
        tls_key: its private key.
        tls_ca: the certificate of the authority that has signed the server's.
        tls_min: the oldest version of TLS, ``"1.3"`` or ``"1.2"``.
        transports: by scheme, in place of those that are registered.
        on_event: called with everything that happens, in the thread of the client.
    """

    window: int
    retry_for_s: float
    idle_timeout_s: float
    tls_cert: str | os.PathLike[str] | None
    tls_key: str | os.PathLike[str] | None
    tls_ca: str | os.PathLike[str] | None
    tls_min: str
    transports: Mapping[str, Transport] | None
    on_event: Listener


def new_options(url: str, revision: int, **settings: Unpack[Settings]) -> ClientOptions:
    """The options of a client.

    Raises:
        ConfigError: an argument cannot be used; the text names it, and says what was expected.
    """
    scheme = parse_url(url).scheme
    if revision not in CLIENT_REVISIONS:
        raise ConfigError(f"revision: expected one of {', '.join(map(str, CLIENT_REVISIONS))}, not {revision}")
    window = settings.get("window", DEFAULT_WINDOW)
    retry_for_s = settings.get("retry_for_s", DEFAULT_RETRY_FOR_S)
    idle_timeout_s = settings.get("idle_timeout_s", DEFAULT_IDLE_TIMEOUT_S)
    require_window(window)
    if not 0 <= retry_for_s < float("inf"):
        raise ConfigError(f"retry_for_s: expected 0 or more seconds, not {retry_for_s}")
    if not 0 < idle_timeout_s < float("inf"):
        raise ConfigError(f"idle_timeout_s: expected more than 0 seconds, not {idle_timeout_s}")
    transports = dict(settings.get("transports") or {})
    files = {name: settings.get(f"tls_{name}") for name in ("cert", "key", "ca")}
    if any(files.values()):
        if scheme != "tls":
            raise ConfigError(f"{url}: the connection would not be encrypted, although TLS files are given")
        paths = {name: None if path is None else Path(path) for name, path in files.items()}  # type: ignore[arg-type]
        transports["tls"] = TlsTransport(TlsFiles(**paths), minimum=settings.get("tls_min", "1.3"))
    return ClientOptions(
        url=url,
        revision=revision,
        window=window,
        retry_for_s=retry_for_s,
        idle_timeout_s=idle_timeout_s,
        transports=transports,
        on_event=settings.get("on_event", ignore),
    )


def require_window(window: int) -> None:
    """Raise `ConfigError` for a window that is out of its range. With 0 nothing would ever be sent."""
    if not 1 <= window <= MAX_WINDOW:
        raise ConfigError(f"window: expected 1 to {MAX_WINDOW} batches, not {window}")


def older_server(options: ClientOptions) -> str:
    """What to do about a server that does not know revision 9."""
    return (
        f"an older server is spoken to with {options.words.revision_8}, which cannot promise to store every bet once "
        "only"
    )


REASONS: Final = {
    RejectCode.INCOMPLETE: "another upload of the agency is unfinished; finish it, or have the operator void it",
    RejectCode.BUSY: "the server is busy",
    RejectCode.STORE_FULL: "the server's disk is full",
    RejectCode.LIMIT: "the agency has too many uploads or connections",
    RejectCode.SHUTTING_DOWN: "the server is shutting down",
}
"""What the codes mean after which the client tries again."""


def reconnect_reason(code: RejectCode) -> str:
    """The text about `code`."""
    return f"{REASONS[code]} (code {code.value}, {code.name})"
