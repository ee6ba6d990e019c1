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

from bets_protocol import CLIENT_REVISIONS, NEWEST_REVISION, ConfigError, limits
from bets_protocol.cli.config_files import read_yaml
from bets_protocol.cli.durations import parse_duration
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

DEFAULT_DATA_FILE = "agency.csv"


_MAX_SECONDS = 1_000_000


def _revision(text: str) -> int:
    if text not in map(str, CLIENT_REVISIONS):
        raise ValueError(
            f"expected one of the revisions that this client speaks: {', '.join(map(str, CLIENT_REVISIONS))}"
        )
    return int(text)


def _file(text: str) -> str:
    if not text:
        raise ValueError("expected the name of a file")
    return text


def _label(text: str) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > limits.MAX_LABEL_BYTES:
        raise ValueError(f"expected at most {limits.MAX_LABEL_BYTES} bytes of UTF-8")
    return text


FIRST_REVISIONS: Mapping[str, int] = {"window": 8, "draw": 9, "label": 9}
"""The settings that not every revision has a use for, and the first one that has."""

_BET = (
    Setting(name="first_name", text="First name of the person who bets", env=("NOMBRE",)),
    Setting(name="last_name", text="Last name of the person who bets", env=("APELLIDO",)),
    Setting(name="document", text="Number of the document, eight digits", metavar="DIGITS", env=("DOCUMENTO",)),
    Setting(name="birthdate", text="Date of birth", metavar="YYYY-MM-DD", env=("NACIMIENTO",)),
    Setting(name="number", text="The number that is bet on, 0 to 9999", metavar="N", env=("NUMERO",)),
)

BET_FIELDS = tuple(one.name for one in _BET)
"""The settings of one bet, in the order of its fields."""

_TLS = tls_settings("This client's certificate", "the server's certificate", lambda name: name.replace("_", "."))


@attrs.frozen(kw_only=True, eq=False, repr=False)  # as `Setting`, for --help
class ClientSettings(TlsSettings):
    """Every setting of the client; the names are those of the options.

    Attributes:
        agency: None where nothing gives it.
        amount: None where nothing says how many.
        progress: None where it depends on the terminal.
        file: None where nothing names it.
        found: the settings as they were found, also those of one bet, and where each stands.
    """

    server: str = setting(
        "Where the server listens; HOST:PORT means tcp",
        "tcp://127.0.0.1:12345",
        address,
        metavar="URL",
        env=("CLI_SERVER_ADDRESS",),
        key="server.address",
    )
    agency: int | None = setting(
        "Whose bets these are, 1 to 255",
        None,
        whole_number(1, limits.MAX_AGENCY),
        metavar="N",
        env=("AGENCIA", "CLI_ID"),
        key="id",
    )
    batch_max: int = setting(
        "Most bets in a batch",
        limits.DEFAULT_BATCH_MAX,
        whole_number(1, limits.MAX_BATCH_BETS),
        metavar="N",
        env=("CLI_BATCH_MAXAMOUNT",),
        key="batch.maxAmount",
    )
    window: int = setting(
        "Most batches that are sent and not acknowledged; on revisions 8 and 9",
        limits.DEFAULT_WINDOW,
        whole_number(1, limits.MAX_WINDOW),
        metavar="N",
    )
    revision: int = setting(
        "Revision of the protocol", NEWEST_REVISION, **choice(*CLIENT_REVISIONS) | {"parse": _revision}
    )
    no_winners: bool = setting(
        "Stop after the last acknowledgement; the upload is not ended, and no winners are asked for", False, boolean
    )
    yes: bool = setting("The agency has sent everything; do not ask for confirmation", False, boolean)
    retry_for_s: float = setting(
        "Give up after this time without progress",
        None,
        decimal_number(0, _MAX_SECONDS),
        metavar="SECONDS",
        shown=f"{limits.DEFAULT_RETRY_FOR_S:g}, of probe 10",
    )
    idle_timeout_s: float = setting(
        "Silence after which a connection counts as lost",
        limits.DEFAULT_IDLE_TIMEOUT_S,
        decimal_number(0.1, _MAX_SECONDS),
        metavar="SECONDS",
    )
    draw: int = setting(
        "Which draw the bets are for; on revision 9", 1, whole_number(0, limits.MAX_DRAW_ID), metavar="ID"
    )
    label: str = setting("Makes an identical file or bet a different upload; on revision 9", "", _label)
    log_level: str = setting(**LOG_LEVEL, env=("CLI_LOG_LEVEL",), key="log.level")
    progress: bool | None = setting(
        "Show on standard error how many bets are acknowledged",
        None,
        boolean,
        option="--progress/--no-progress",
        shown="unless --quiet is given",
    )
    format: str = setting(
        "How the answer is printed; json moves the log to standard error", "text", **choice("text", "json")
    )
    quiet: bool = setting("Print only the answer, and no log", False, boolean, short="-q")
    amount: int | None = setting(
        "How many probes",
        None,
        whole_number(0, 1_000_000_000),
        metavar="N",
        env=("CLI_LOOP_AMOUNT",),
        key="loop.amount",
        shown="1, of run 0",
    )
    period_s: float = setting(
        "Pause between two probes, such as 5s or 150ms",
        5.0,
        parse_duration,
        metavar="DURATION",
        env=("CLI_LOOP_PERIOD",),
        key="loop.period",
        shown="5s",
    )
    file: str | None = setting("The data file", None, _file, metavar="FILE", complete=FILE, shown=DEFAULT_DATA_FILE)
    agencies: int = setting("How many files to make", 5, whole_number(1, limits.MAX_AGENCY), metavar="N")
    bets: int = setting("Rows in each file", 1000, whole_number(1, 100_000_000), metavar="M")
    seed: int = setting("The same seed gives the same files", 1, whole_number(0, 2**63 - 1), metavar="S")
    overwrite: bool = setting("Replace files that differ", False, boolean)
    found: Resolved

    @property
    def agency_origin(self) -> str | None:
        """Where the agency stands, to be shown in an error."""
        return self.found.origin("agency")

    @property
    def tls_origin(self) -> str | None:
        """Where the first of the settings of TLS stands; None: nowhere."""
        return next((origin for one in _TLS if (origin := self.found.origin(one.name)) is not None), None)

    @property
    def bet(self) -> Mapping[str, str | None]:
        """The five values of one bet as they were given, None for what is missing."""
        return {name: self.found[name] for name in BET_FIELDS}

    @property
    def bet_origins(self) -> Mapping[str, str | None]:
        """Where each value of the bet stands."""
        return {name: self.found.origin(name) for name in BET_FIELDS}

    @property
    def unused(self) -> Mapping[str, str]:
        """Those of `FIRST_REVISIONS` that are set although `revision` has no use for them, and where each stands."""
        return {
            name: origin
            for name, first in FIRST_REVISIONS.items()
            if self.revision < first and (origin := self.found.origin(name)) is not None and self.found[name] != ""
        }

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


CONFIG = Setting(name="config", text="A YAML file of settings", metavar="FILE", complete=FILE)

SETTINGS = (*settings_of(ClientSettings), *_TLS, *_BET)


def load_settings(
    options: Mapping[str, Any], environ: Mapping[str, str], *, retry_for_s: float = limits.DEFAULT_RETRY_FOR_S
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
    values = fields_of(ClientSettings, found)
    if values["retry_for_s"] is None:
        values["retry_for_s"] = retry_for_s
    return ClientSettings(**values, found=found)


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
