"""The server's settings: one table, and the values in one frozen object.

The names of the legacy server (its environment and its INI file) are a contract; what it did not have is `BETS_` and
the option's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from bets_protocol import limits as wire_limits
from bets_protocol.cli.config_files import read_ini
from bets_protocol.cli.settings import (
    FILE,
    LOG_LEVEL,
    Resolved,
    Setting,
    address,
    boolean,
    choice,
    decimal_number,
    fields_of,
    resolve,
    setting,
    settings_of,
    whole_number,
)
from bets_protocol.cli.tls_options import TlsSettings, tls_settings
from bets_server.limits import Limits

DEFAULT_PORT = 12345

AGENCY = whole_number(1, wire_limits.MAX_AGENCY)

_RANDOM = "random"


def _winning_number(text: str) -> int | None:
    if text == _RANDOM:
        return None
    try:
        return whole_number(0, wire_limits.MAX_BETTING_NUMBER)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {_RANDOM!r}") from None


def _store(text: str) -> str:
    if text.startswith(('"', "'")):  # the schemes are the stores' to know
        raise ValueError("expected sqlite:///PATH or csv:///PATH")
    return text


def _port(text: str) -> int:
    try:
        return whole_number(0, 65535)(text)
    except ValueError as error:
        if "://" not in text:
            raise
        raise ValueError(
            f"{error}. Kubernetes sets this variable to an address where a Service is named `server`: give --listen or "
            "BETS_LISTEN, or set enableServiceLinks: false in the pod"
        ) from None


@attrs.frozen(kw_only=True)
class ServerSettings(TlsSettings):
    """Every setting of the server; the names are those of the options.

    Attributes:
        winning_number: None draws one after the last seal.
        revision: 9 for the typed messages of 7, 8 and 9, which the first byte tells apart, else 6 or 5: what
            `ServerConnection` takes.
        control: a path, `none`, or empty for beside the store; see `control_socket`.
    """

    listen: tuple[str, ...] = setting(
        "Where to listen: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH; may be repeated",
        (),
        address,
        metavar="URL",
        key="LISTEN",
        repeated=True,
        shown=f"tcp://127.0.0.1:{DEFAULT_PORT}, the port from SERVER_PORT",
    )
    store: str = setting(
        "Where bets are kept: sqlite:///PATH or csv:///PATH", "sqlite:///bets.db", _store, metavar="URL"
    )
    draw: int = setting("Which draw", 1, whole_number(0, wire_limits.MAX_DRAW_ID), metavar="ID")
    control: str = setting(
        "The socket at which operators ask a running server, or 'none'",
        "",
        metavar="PATH",
        key="CONTROL",
        complete=FILE,
        shown="beside the store, the name of its file and .control",
    )
    agencies: int = setting(
        "How many agencies must ask before the draw: 1 to N",
        5,
        AGENCY,
        metavar="N",
        env=("EXPECTED_CLIENTS",),
        key="EXPECTED_CLIENTS",
    )
    winning_number: int | None = setting(
        f"The number that wins, 0 to 9999, or '{_RANDOM}' to draw one after the last agency",
        7574,
        _winning_number,
        metavar="N",
    )
    workers: int = setting(
        "Threads for what blocks; agencies that wait for the draw need none", 4, whole_number(1, 64), metavar="N"
    )
    backlog: int = setting(
        "Connections that the system queues for each listener before they are accepted",
        1024,
        whole_number(1, 65535),
        metavar="N",
        env=("SERVER_LISTEN_BACKLOG",),
        key="SERVER_LISTEN_BACKLOG",
    )
    revision: int = setting(
        "Revision of the wire; 9 stands for 7, 8 and 9, 5 and 6 for themselves only",
        9,
        **choice(5, 6, 9),
    )
    log_level: str = setting(**LOG_LEVEL, env=("LOGGING_LEVEL",), key="LOGGING_LEVEL")
    grace_s: float = setting("How long a stop may take", 8.0, decimal_number(0, 3600), metavar="SECONDS")
    exit_after_draw: bool = setting(
        "Stop once the draw was made and everyone was answered; started after the draw, once all agencies have asked "
        "or --after-draw-timeout has passed",
        False,
        boolean,
    )
    tls_pins: str = ""
    limits: Limits = attrs.field(factory=Limits)


def _limit_settings() -> Iterator[Setting]:
    for field in attrs.fields(Limits):
        if not (bound := field.metadata):
            continue
        name = field.name.removesuffix("_s")
        whole = name == field.name
        first = "Seconds" if not whole else "At least so many" if name == "min_rate" else "At most so many"
        yield Setting(
            name=name,
            text=f"{first} {bound['text']}",
            metavar="N" if whole else "SECONDS",
            parse=(whole_number if whole else decimal_number)(bound["low"], bound["high"]),
            default=field.default,
            key=name.upper(),
        )


CONFIG = Setting(name="config", text="An INI file of settings", metavar="FILE", complete=FILE)
LIMIT_SETTINGS = tuple(_limit_settings())

OPTIONS = (
    *settings_of(ServerSettings),
    *tls_settings(
        "The server's certificate for tls:// listeners, with its chain", "the agencies' certificates", str.upper
    ),
    Setting(
        name="tls_pins",
        text="The certificates that may speak for an agency",
        metavar="FILE",
        default="",
        shown="all that the CA has signed",
        key="TLS_PINS",
        complete=FILE,
    ),
    *LIMIT_SETTINGS,
)
"""The settings that are options of `serve`."""

SETTINGS = (
    *OPTIONS,
    Setting(name="port", env=("SERVER_PORT",), key="SERVER_PORT", parse=_port, default=DEFAULT_PORT, unless="listen"),
    Setting(name="server_ip", env=(), key="SERVER_IP"),  # accepted and not used: the legacy server never did
)
"""What `serve` resolves."""


def resolve_settings(options: Mapping[str, Any], environ: Mapping[str, str]) -> Resolved:
    """The values of `SETTINGS`, and where each comes from.

    Raises:
        ConfigError: the file cannot be used, or a value cannot; names the place.
    """
    path = options.get("config")
    return resolve(SETTINGS, options, environ, None if path is None else read_ini(path), path or "")


def load_settings(options: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSettings:
    """The settings from options, environment and the INI file that `options["config"]` names.

    Raises:
        ConfigError: as `resolve_settings`.
    """
    values = resolve_settings(options, environ)
    agencies = values["agencies"]
    if values.origin("agencies") is None and values.origin("backlog") is not None:  # as in the legacy server
        agencies = min(wire_limits.MAX_AGENCY, values["backlog"])
    return ServerSettings(
        **fields_of(ServerSettings, values)
        | {
            "listen": values["listen"] or (f"tcp://127.0.0.1:{values['port']}",),
            "agencies": agencies,
            "limits": Limits(**fields_of(Limits, values)),
        }
    )
