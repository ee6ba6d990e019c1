"""The server's settings: one table, and the values in one frozen object.

The names of the legacy server (its environment and its INI file) are a contract; what it did not have is `BETS_` and
the option's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from bets_protocol import ConfigError
from bets_protocol import limits as wire_limits
from bets_protocol.cli.settings import (
    Resolved,
    Setting,
    address,
    boolean,
    decimal_number,
    log_level,
    one_of,
    read_ini,
    resolve,
    whole_number,
)
from bets_protocol.transports import TLS_VERSIONS
from bets_server.limits import LIMIT_OPTIONS, LimitOption, Limits

DEFAULT_PORT = 12345
DEFAULT_STORE = "sqlite:///bets.db"
DEFAULT_BACKLOG = 1024
DEFAULT_WINNING_NUMBER = 7574
TYPED_REVISION = 9
"""What `--revision` calls the family of typed messages, which the first byte tells apart: 7, 8 and 9."""

_RANDOM = "random"
_MAX_DAYS = 36_500


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


def _limit_setting(option: LimitOption) -> Setting:
    name = option.name.upper()
    parse = whole_number(int(option.low), int(option.high)) if option.whole else decimal_number(option.low, option.high)
    return Setting(name=option.name, env=(f"BETS_{name}",), key=name, parse=parse, default=option.default)


SETTINGS = (
    Setting(name="port", env=("SERVER_PORT",), key="SERVER_PORT", parse=_port, default=DEFAULT_PORT, unless="listen"),
    Setting(name="server_ip", key="SERVER_IP"),  # accepted and not used: the legacy server never did
    Setting(name="listen", env=("BETS_LISTEN",), key="LISTEN", parse=address, repeated=True, default=()),
    Setting(
        name="backlog",
        env=("SERVER_LISTEN_BACKLOG",),
        key="SERVER_LISTEN_BACKLOG",
        parse=whole_number(1, 65535),
        default=DEFAULT_BACKLOG,
    ),
    Setting(
        name="agencies",
        env=("EXPECTED_CLIENTS",),
        key="EXPECTED_CLIENTS",
        parse=whole_number(1, wire_limits.MAX_AGENCY),
        default=None,
    ),
    Setting(name="log_level", env=("LOGGING_LEVEL",), key="LOGGING_LEVEL", parse=log_level, default="INFO"),
    Setting(name="store", env=("BETS_STORE",), parse=_store, default=DEFAULT_STORE),
    Setting(name="draw", env=("BETS_DRAW",), parse=whole_number(0, 2**32 - 1), default=1),
    Setting(
        name="winning_number",
        env=("BETS_WINNING_NUMBER",),
        parse=_winning_number,
        default=DEFAULT_WINNING_NUMBER,
    ),
    Setting(name="workers", env=("BETS_WORKERS",), parse=whole_number(1, 64), default=4),
    Setting(
        name="revision",
        env=("BETS_REVISION",),
        parse=one_of("5", "6", str(TYPED_REVISION)),
        default=str(TYPED_REVISION),
    ),
    Setting(name="exit_after_draw", env=("BETS_EXIT_AFTER_DRAW",), parse=boolean, default=False),
    Setting(name="control", env=("BETS_CONTROL",), key="CONTROL", default=""),
    Setting(name="grace", env=("BETS_GRACE",), parse=decimal_number(0, 3600), default=8.0),
    Setting(name="tls_cert", env=("BETS_TLS_CERT",), key="TLS_CERT", default=""),
    Setting(name="tls_key", env=("BETS_TLS_KEY",), key="TLS_KEY", default=""),
    Setting(name="tls_ca", env=("BETS_TLS_CA",), key="TLS_CA", default=""),
    Setting(name="tls_min", env=("BETS_TLS_MIN",), key="TLS_MIN", parse=one_of(*TLS_VERSIONS), default="1.3"),
    Setting(name="tls_pins", env=("BETS_TLS_PINS",), key="TLS_PINS", default=""),
    *map(_limit_setting, LIMIT_OPTIONS),
)

COMMAND_SETTINGS = (
    *(setting for setting in SETTINGS if setting.name in ("tls_cert", "tls_key", "tls_ca", "tls_min")),
    Setting(name="form", option="--format", env=("BETS_FORMAT",), parse=one_of("text", "json"), default="text"),
    Setting(name="agency", env=("BETS_AGENCY",), parse=whole_number(1, wire_limits.MAX_AGENCY)),
    Setting(name="without", env=("BETS_WITHOUT",), parse=whole_number(1, wire_limits.MAX_AGENCY)),
    Setting(name="number", option="NUMBER", parse=whole_number(1, 2**63 - 1)),
    Setting(name="reason", env=("BETS_REASON",)),
    Setting(name="raw", env=("BETS_RAW",), parse=boolean, default=False),
    Setting(name="timeout", env=("BETS_TIMEOUT",), parse=decimal_number(0.1, 3600), default=5.0),
    Setting(name="agency_number", option="N", parse=whole_number(1, wire_limits.MAX_AGENCY)),
    Setting(name="days", env=("BETS_DAYS",), parse=whole_number(1, _MAX_DAYS), default=397),
    Setting(name="ca_days", env=("BETS_CA_DAYS",), parse=whole_number(1, _MAX_DAYS), default=3650),
    Setting(name="force", env=("BETS_FORCE",), parse=boolean, default=False),
    Setting(name="folder", option="--dir", env=("BETS_DIR",), parse=Path),
    Setting(name="names", option="--name", env=("BETS_NAME",), repeated=True, default=()),
)
"""What commands other than `serve` take, by the names of their parameters."""

DEFAULT_AGENCIES = 5


@attrs.frozen(kw_only=True)
class ServerSettings:
    """Every setting of the server; the names are those of the options.

    Attributes:
        listen: the URLs to listen at.
        backlog: connections that the system queues for each listener before they are accepted.
        agencies: how many agencies must ask before the draw: 1 to this.
        winning_number: None draws one after the last seal.
        workers: threads for what blocks.
        revision: 9 for the typed messages of 7, 8 and 9, else 6 or 5: what `ServerConnection` takes.
        grace_s: seconds that a stop may take.
        control: where operators ask: a path, `none`, or empty for beside the store; see `control_socket`.
        tls_cert: file of the server's certificate chain, for `tls://` listeners; empty: none.
        tls_key: file of its key.
        tls_ca: file of the CA that signs the agencies' certificates.
        tls_min: the oldest TLS that is spoken.
        tls_pins: file of the certificates that may speak for an agency; empty: all of the CA.
        limits: what peers may cost.
    """

    listen: tuple[str, ...]
    backlog: int = DEFAULT_BACKLOG
    agencies: int = DEFAULT_AGENCIES
    log_level: str = "INFO"
    store: str = DEFAULT_STORE
    draw: int = 1
    winning_number: int | None = DEFAULT_WINNING_NUMBER
    workers: int = 4
    revision: int = TYPED_REVISION
    exit_after_draw: bool = False
    grace_s: float = 8.0
    control: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_min: str = "1.3"
    tls_pins: str = ""
    limits: Limits = attrs.field(factory=Limits)


def resolve_settings(options: Mapping[str, Any], environ: Mapping[str, str]) -> Resolved:
    """The values of `SETTINGS`, and where each comes from.

    Raises:
        ConfigError: as `load_settings`.
    """
    path = options.get("config")
    return resolve(SETTINGS, options, environ, None if path is None else read_ini(path), path or "")


def load_settings(options: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSettings:
    """The settings from options, environment and the INI file that `options["config"]` names.

    Raises:
        ConfigError: a value that does not parse or an unknown key; names where it stands.
    """
    values = resolve_settings(options, environ)
    return ServerSettings(
        listen=values["listen"] or (f"tcp://127.0.0.1:{values['port']}",),
        backlog=values["backlog"],
        agencies=_expected_agencies(values),
        log_level=values["log_level"],
        store=values["store"],
        draw=values["draw"],
        winning_number=values["winning_number"],
        workers=values["workers"],
        revision=int(values["revision"]),
        exit_after_draw=values["exit_after_draw"],
        grace_s=values["grace"],
        control=values["control"],
        tls_cert=values["tls_cert"],
        tls_key=values["tls_key"],
        tls_ca=values["tls_ca"],
        tls_min=values["tls_min"],
        tls_pins=values["tls_pins"],
        limits=Limits(**{option.field: values[option.name] for option in LIMIT_OPTIONS}),
    )


def command_settings(
    options: Mapping[str, Any], environ: Mapping[str, str], *, needed: Iterable[str] = ()
) -> dict[str, Any]:
    """The values of a command's own options, from options and environment.

    Args:
        options: all that are the command's own, by the names in `COMMAND_SETTINGS`; None: not given.
        environ: of the process.
        needed: those that must be given.

    Raises:
        ConfigError: a value does not parse, or is missing; names where it stands.
    """
    settings = [setting for setting in COMMAND_SETTINGS if setting.name in options]
    values = resolve(settings, options, environ)
    for setting in settings:
        if setting.name in needed and values[setting.name] is None:
            option = setting.option or f"--{setting.name}"
            raise ConfigError(f"{option} is missing; it may also be {setting.env[0]} in the environment")
    return dict(values)


def _expected_agencies(values: Resolved) -> int:
    """The agencies; where nothing sets them, a set backlog does, as in the legacy server."""
    if values["agencies"] is not None:
        return int(values["agencies"])
    if values.origin("backlog") is not None:
        return min(wire_limits.MAX_AGENCY, int(values["backlog"]))
    return DEFAULT_AGENCIES
