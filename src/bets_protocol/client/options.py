"""What a client is told once: where the server is, how it speaks, how long it tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from bets_protocol.client.events import Event, Listener
from bets_protocol.client.retry import now
from bets_protocol.codec import NEWEST_REVISION
from bets_protocol.errors import RejectCode
from bets_protocol.limits import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_RETRY_FOR_S, DEFAULT_WINDOW
from bets_protocol.transports import Transport


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
