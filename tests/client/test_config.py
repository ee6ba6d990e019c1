"""The client's settings: the legacy names, the precedence, and errors that say where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bets_client.config import SETTINGS, load_settings, require_agency, require_winners
from bets_protocol import ConfigError

LEGACY_FILE = """\
server:
  address: "server:12345"
id: 3
loop:
  amount: 5
  period: "5s"
log:
  level: "DEBUG"
batch:
  maxAmount: 90
"""


def test_no_setting_is_a_variable_that_kubernetes_sets() -> None:
    """It sets variables with these ends for each Service, whatever the name of that."""
    ends = re.compile(r"_(PORT|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)")
    assert [name for setting in SETTINGS for name in setting.env if ends.search(name)] == []


def test_the_defaults_are_those_of_the_contract() -> None:
    """Without any setting each value is the documented one."""
    settings = load_settings({}, {})
    assert (settings.server, settings.agency, settings.log_level) == ("tcp://127.0.0.1:12345", None, "INFO")
    assert (settings.batch_max, settings.window, settings.revision, settings.draw) == (130, 16, 9, 1)
    assert (settings.retry_for_s, settings.label, settings.no_winners) == (900.0, "", False)
    assert (settings.amount, settings.period_s, settings.file) == (None, 5.0, None)
    assert (settings.format, settings.quiet, settings.progress) == ("text", False, None)


def test_the_legacy_file_means_what_it_meant(tmp_path: Path) -> None:
    """The keys of the legacy config.yaml are understood."""
    path = tmp_path / "config.yaml"
    path.write_text(LEGACY_FILE)
    settings = load_settings({"config": str(path)}, {})
    assert (settings.server, settings.agency, settings.log_level) == ("server:12345", 3, "DEBUG")
    assert (settings.batch_max, settings.amount, settings.period_s) == (90, 5, 5.0)
    assert settings.agency_origin == f"{path}: id"


def test_the_environment_may_name_the_file_and_wins_over_it(tmp_path: Path) -> None:
    """BETS_CONFIG names the file, and variables outrank its keys."""
    path = tmp_path / "config.yaml"
    path.write_text(LEGACY_FILE)
    environ = {
        "BETS_CONFIG": str(path),
        "CLI_SERVER_ADDRESS": "other:1",
        "CLI_ID": "4",
        "CLI_LOOP_AMOUNT": "0",
        "CLI_LOOP_PERIOD": "150ms",
        "CLI_LOG_LEVEL": "warning",
        "CLI_BATCH_MAXAMOUNT": "7",
    }
    settings = load_settings({"config": None}, environ)
    assert (settings.server, settings.agency, settings.amount, settings.period_s) == ("other:1", 4, 0, 0.15)
    assert (settings.log_level, settings.batch_max) == ("WARNING", 7)


def test_agencia_wins_over_cli_id() -> None:
    """Of two variables for one setting the first listed counts."""
    settings = load_settings({}, {"AGENCIA": "1", "CLI_ID": "2"})
    assert (settings.agency, settings.agency_origin) == (1, "environment AGENCIA")


def test_every_option_has_its_variable() -> None:
    """A variable is BETS_ and the option, except for legacy ones."""
    legacy = {"server", "agency", "log_level", "batch_max", "amount", "period"}
    bet = {"first_name", "last_name", "document", "birthdate", "number"}
    others = {setting.name: tuple(setting.env) for setting in SETTINGS if setting.name not in legacy | bet}
    assert others == {name: (f"BETS_{name.upper()}",) for name in others}
    assert {setting.name: tuple(setting.env) for setting in SETTINGS if setting.name in bet} == {
        "first_name": ("NOMBRE",),
        "last_name": ("APELLIDO",),
        "document": ("DOCUMENTO",),
        "birthdate": ("NACIMIENTO",),
        "number": ("NUMERO",),
    }


@pytest.mark.parametrize(
    ("options", "environ", "text"),
    [
        ({"batch_max": "0"}, {}, "--batch-max: '0': expected a whole number from 1 to 255"),
        ({"batch_max": "256"}, {}, "--batch-max: '256': expected a whole number from 1 to 255"),
        ({}, {"CLI_BATCH_MAXAMOUNT": "many"}, "environment CLI_BATCH_MAXAMOUNT: 'many': expected a whole number"),
        ({"agency": "256"}, {}, "--agency: '256': expected a whole number from 1 to 255"),
        (
            {"revision": "10"},
            {},
            "--revision: '10': expected one of the revisions that this client speaks: 5, 6, 7, 8, 9",
        ),
        ({"revision": "08"}, {}, "--revision: '08': expected one of the revisions"),
        ({"window": "0"}, {}, "--window: '0': expected a whole number from 1 to 1024"),
        ({"retry_for": "-1"}, {}, "--retry-for: '-1': expected a number from 0 to 1e+06"),
        ({"label": "é" * 128}, {}, "expected at most 255 bytes of UTF-8"),
        ({"format": "xml"}, {}, "--format: 'xml': expected one of text, json"),
        ({"log_level": "LOUD"}, {}, "--log-level: 'LOUD': expected one of DEBUG, INFO"),
        ({}, {"CLI_LOOP_PERIOD": "5"}, "environment CLI_LOOP_PERIOD: '5': expected a duration such as 5s"),
        ({}, {"BETS_PROGRESS": "x"}, "environment BETS_PROGRESS: 'x': expected 1, true, yes"),
        ({"config": "/nowhere.yaml"}, {}, "/nowhere.yaml: cannot read the configuration file: No such file"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(options: dict[str, Any], environ: dict[str, str], text: str) -> None:
    """The error names the option or variable, the value and what was expected."""
    with pytest.raises(ConfigError) as caught:
        load_settings(options, environ)
    assert text in str(caught.value)


def test_a_label_may_have_255_bytes() -> None:
    """The bound of the label is in bytes of UTF-8."""
    assert load_settings({"label": "é" * 127 + "x"}, {}).label == "é" * 127 + "x"


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    """The error lists the keys that the file may have."""
    path = tmp_path / "config.yaml"
    path.write_text("batch:\n  maxAmont: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_settings({"config": str(path)}, {})
    assert str(caught.value) == (
        f"{path}: batch.maxAmont: '3': unknown key; expected one of "
        "batch.maxAmount, id, log.level, loop.amount, loop.period, server.address, tls.ca, tls.cert, "
        "tls.key, tls.min"
    )


def test_the_agency_may_be_required() -> None:
    """Commands that need an agency say so when none is set."""
    assert require_agency(load_settings({"agency": "5"}, {})) == 5
    with pytest.raises(ConfigError, match="which agency"):
        require_agency(load_settings({}, {}))


@pytest.mark.parametrize(
    ("revision", "persistent", "winners"),
    [("5", False, False), ("6", False, False), ("7", False, True), ("8", True, True), ("9", True, True)],
)
def test_a_revision_says_what_it_can(revision: str, persistent: bool, winners: bool) -> None:
    """From 7 on a revision has winners, from 8 on lasting connections."""
    settings = load_settings({"revision": revision}, {})
    assert (settings.persistent, settings.knows_winners) == (persistent, winners)


def test_winners_need_a_revision_that_has_them() -> None:
    """The error names the option and the first revision that has winners."""
    require_winners(load_settings({"revision": "7"}, {}))
    with pytest.raises(ConfigError, match="--revision: '6': expected 7 or more: earlier revisions have no winners"):
        require_winners(load_settings({"revision": "6"}, {}))
