"""The client's settings: one table, and the values in one frozen object.

Strategy: every command resolves the whole table, so that a value that cannot be right is found whichever command runs
first, and so that a configuration file is checked as a whole: a key that no command knows is an error.
The names of the legacy client (its environment and its YAML file) are a contract; what it did not have is `BETS_` and
the option's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from bets_protocol import ConfigError, limits
from bets_protocol.cli.config_files import read_yaml
from bets_protocol.cli.durations import parse_duration
from bets_protocol.cli.settings import (
    Resolved,
    Setting,
    address,
    boolean,
    decimal_number,
    log_level,
    one_of,
    resolve,
    whole_number,
)
from bets_protocol.transports import TLS_VERSIONS

REVISIONS = (5, 6, 7, 8, 9)
"""The revisions of the wire that this client speaks."""

DEFAULT_REVISION = 9

DEFAULT_DATA_FILE = "agency.csv"

DEFAULT_RETRY_FOR_S = 900.0

MAX_WINDOW = 1024
"""Batches in flight: 8 MB that the server has not answered yet; 16 already gain all that there is to gain."""

_MAX_SECONDS = 1_000_000
_MAX_LABEL_BYTES = 255


def _revision(text: str) -> int:
    if text not in {str(revision) for revision in REVISIONS}:
        raise ValueError(f"expected one of the revisions that this client speaks: {', '.join(map(str, REVISIONS))}")
    return int(text)


def _file(text: str) -> str:
    if not text:
        raise ValueError("expected the name of a file")
    return text


def _label(text: str) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > _MAX_LABEL_BYTES:
        raise ValueError(f"expected at most {_MAX_LABEL_BYTES} bytes of UTF-8")
    return text


SETTINGS = (
    Setting(
        name="server",
        env=("CLI_SERVER_ADDRESS",),
        key="server.address",
        parse=address,
        default="tcp://127.0.0.1:12345",
    ),
    Setting(name="agency", env=("AGENCIA", "CLI_ID"), key="id", parse=whole_number(1, limits.MAX_AGENCY)),
    Setting(name="log_level", env=("CLI_LOG_LEVEL",), key="log.level", parse=log_level, default="INFO"),
    Setting(
        name="batch_max",
        env=("CLI_BATCH_MAXAMOUNT",),
        key="batch.maxAmount",
        parse=whole_number(1, limits.MAX_BATCH_BETS),
        default=limits.DEFAULT_BATCH_MAX,
    ),
    Setting(name="amount", env=("CLI_LOOP_AMOUNT",), key="loop.amount", parse=whole_number(0, 1_000_000_000)),
    Setting(name="period", env=("CLI_LOOP_PERIOD",), key="loop.period", parse=parse_duration, default=5.0),
    Setting(name="window", env=("BETS_WINDOW",), parse=whole_number(1, MAX_WINDOW), default=16),
    Setting(name="revision", env=("BETS_REVISION",), parse=_revision, default=DEFAULT_REVISION),
    Setting(name="draw", env=("BETS_DRAW",), parse=whole_number(0, 2**32 - 1), default=1),
    Setting(name="label", env=("BETS_LABEL",), parse=_label, default=""),
    Setting(name="no_winners", env=("BETS_NO_WINNERS",), parse=boolean, default=False),
    Setting(name="yes", env=("BETS_YES",), parse=boolean, default=False),
    Setting(name="retry_for", env=("BETS_RETRY_FOR",), parse=decimal_number(0, _MAX_SECONDS)),
    Setting(name="idle_timeout", env=("BETS_IDLE_TIMEOUT",), parse=decimal_number(0.1, _MAX_SECONDS), default=60.0),
    Setting(name="progress", env=("BETS_PROGRESS",), parse=boolean, option="--progress/--no-progress"),
    Setting(name="format", env=("BETS_FORMAT",), parse=one_of("text", "json"), default="text"),
    Setting(name="quiet", env=("BETS_QUIET",), parse=boolean, default=False),
    Setting(name="tls_cert", env=("BETS_TLS_CERT",), key="tls.cert", default=""),
    Setting(name="tls_key", env=("BETS_TLS_KEY",), key="tls.key", default=""),
    Setting(name="tls_ca", env=("BETS_TLS_CA",), key="tls.ca", default=""),
    Setting(name="tls_min", env=("BETS_TLS_MIN",), key="tls.min", parse=one_of(*TLS_VERSIONS), default="1.3"),
    Setting(name="first_name", env=("NOMBRE",)),
    Setting(name="last_name", env=("APELLIDO",)),
    Setting(name="document", env=("DOCUMENTO",)),
    Setting(name="birthdate", env=("NACIMIENTO",)),
    Setting(name="number", env=("NUMERO",)),
    Setting(name="file", env=("BETS_FILE",), parse=_file),
    Setting(name="agencies", env=("BETS_AGENCIES",), parse=whole_number(1, limits.MAX_AGENCY), default=5),
    Setting(name="bets", env=("BETS_BETS",), parse=whole_number(1, 100_000_000), default=1000),
    Setting(name="seed", env=("BETS_SEED",), parse=whole_number(0, 2**63 - 1), default=1),
    Setting(name="overwrite", env=("BETS_OVERWRITE",), parse=boolean, default=False),
)

TLS_NAMES = ("tls_cert", "tls_key", "tls_ca", "tls_min")
"""The settings that only an encrypted connection has a use for."""

FIRST_REVISIONS: Mapping[str, int] = {"window": 8, "draw": 9, "label": 9}
"""The settings that not every revision has a use for, and the first one that has."""

BET_FIELDS = ("first_name", "last_name", "document", "birthdate", "number")
"""The settings of one bet, in the order of its fields."""


@attrs.frozen(kw_only=True)
class ClientSettings:
    """Every setting of the client; the names are those of the options.

    Attributes:
        agency: None where nothing gives it.
        agency_origin: where the agency stands, to be shown in an error.
        amount: probes; None where nothing says how many.
        period_s: seconds between probes.
        retry_for_s: seconds without progress after which the client gives up.
        idle_timeout_s: seconds without a byte from the server after which a connection counts as lost.
        progress: None where it depends on the terminal.
        format: `text` or `json`.
        tls_cert: the file of this client's certificate, empty where none is given; its key and the authority likewise.
        tls_min: the oldest version of TLS.
        tls_origin: where the first of the four stands; None: nowhere.
        bet: the five values of one bet as they were given, None for what is missing.
        bet_origins: where each of them stands.
        unused: those of `FIRST_REVISIONS` that are set although `revision` has no use for them, and where each stands.
        file: the data file of `run`; None where nothing names it.
    """

    server: str
    agency: int | None
    agency_origin: str | None
    log_level: str
    batch_max: int
    amount: int | None
    period_s: float
    window: int
    revision: int
    draw: int
    label: str
    no_winners: bool
    yes: bool
    retry_for_s: float
    idle_timeout_s: float
    progress: bool | None
    format: str
    quiet: bool
    tls_cert: str
    tls_key: str
    tls_ca: str
    tls_min: str
    tls_origin: str | None
    bet: Mapping[str, str | None]
    bet_origins: Mapping[str, str | None]
    unused: Mapping[str, str]
    file: str | None
    agencies: int
    bets: int
    seed: int
    overwrite: bool

    @property
    def persistent(self) -> bool:
        """Whether a connection serves more than one message."""
        return self.revision >= 8

    @property
    def exactly_once(self) -> bool:
        """Whether the revision has uploads, which store every bet once only."""
        return self.revision >= 9

    @property
    def knows_winners(self) -> bool:
        """Whether the revision has winners at all."""
        return self.revision >= 7


def load_settings(
    options: Mapping[str, Any], environ: Mapping[str, str], *, retry_for_s: float = DEFAULT_RETRY_FOR_S
) -> ClientSettings:
    """The settings from the command line's `options`, `environ` and the YAML file that either names.

    Args:
        options: by the settings' names, and `config` for the file.
        retry_for_s: where nothing says it.

    Raises:
        ConfigError: a value or the file cannot be used.
    """
    config = options.get("config")
    if config == "":
        raise ConfigError("--config: '': expected the name of a file")
    config = config or environ.get("BETS_CONFIG") or None
    file = read_yaml(config) if config is not None else None
    found = resolve(SETTINGS, options, environ, file, config or "")
    return ClientSettings(
        agency_origin=found.origin("agency"),
        period_s=found["period"],
        retry_for_s=retry_for_s if found["retry_for"] is None else found["retry_for"],
        idle_timeout_s=found["idle_timeout"],
        tls_origin=next((origin for name in TLS_NAMES if (origin := found.origin(name)) is not None), None),
        bet={name: found[name] for name in BET_FIELDS},
        bet_origins={name: found.origin(name) for name in BET_FIELDS},
        unused={
            name: origin
            for name, first in FIRST_REVISIONS.items()
            if found["revision"] < first and (origin := found.origin(name)) is not None and found[name] != ""
        },
        **_same_named(found),
    )


def _same_named(found: Resolved) -> dict[str, Any]:
    names = {field.name for field in attrs.fields(ClientSettings)}
    return {name: value for name, value in found.items() if name in names}


def require_agency(settings: ClientSettings) -> int:
    """The agency, for a command that cannot take it from a file's name.

    Raises:
        ConfigError: nothing gives it.
    """
    if settings.agency is None:
        raise ConfigError("which agency? Give --agency N, or set AGENCIA or CLI_ID")
    return settings.agency


def require_winners(settings: ClientSettings) -> None:
    """Check that winners can be asked for at all.

    Raises:
        ConfigError: the revision has none.
    """
    if not settings.knows_winners:
        raise ConfigError(f"--revision: '{settings.revision}': expected 7 or more: earlier revisions have no winners")
