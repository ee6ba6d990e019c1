"""The server's settings: where each may stand, which place wins, and errors that name the place, the key, the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from bets_protocol import ConfigError
from bets_server.config import ServerSettings, load_settings
from bets_server.limits import Limits

DEFAULTS = ServerSettings(listen=("tcp://127.0.0.1:12345",))

PLACES: list[tuple[str, str | None, str | None, str, Any]] = [
    # setting, variable, key of the file, text, value
    ("backlog", "SERVER_LISTEN_BACKLOG", "SERVER_LISTEN_BACKLOG", "7", 7),
    ("agencies", "EXPECTED_CLIENTS", "EXPECTED_CLIENTS", "9", 9),
    ("log_level", "LOGGING_LEVEL", "LOGGING_LEVEL", "debug", "DEBUG"),
    ("store", "BETS_STORE", None, "csv:///x.csv", "csv:///x.csv"),
    ("draw", "BETS_DRAW", None, "0", 0),
    ("winning_number", "BETS_WINNING_NUMBER", None, "42", 42),
    ("winning_number", "BETS_WINNING_NUMBER", None, "random", None),
    ("workers", "BETS_WORKERS", None, "1", 1),
    ("revision", "BETS_REVISION", None, "5", 5),
    ("revision", "BETS_REVISION", None, "6", 6),
    ("revision", "BETS_REVISION", None, "9", 9),
    ("exit_after_draw", "BETS_EXIT_AFTER_DRAW", None, "yes", True),
    ("grace", "BETS_GRACE", None, "2.5", 2.5),
    ("control", "BETS_CONTROL", "CONTROL", "/run/bets.control", "/run/bets.control"),
    ("tls_cert", "BETS_TLS_CERT", "TLS_CERT", "cert.pem", "cert.pem"),
    ("tls_key", "BETS_TLS_KEY", "TLS_KEY", "key.pem", "key.pem"),
    ("tls_ca", "BETS_TLS_CA", "TLS_CA", "ca.pem", "ca.pem"),
    ("tls_min", "BETS_TLS_MIN", "TLS_MIN", "1.2", "1.2"),
    ("tls_pins", "BETS_TLS_PINS", "TLS_PINS", "pins", "pins"),
]
_FIELDS = {"grace": "grace_s"}
_IDS = [f"{name}={text}" for name, _, _, text, _ in PLACES]


def _ini(folder: Path, *lines: str) -> str:
    path = folder / "config.ini"
    path.write_text("\n".join(["[DEFAULT]", *lines]))
    return str(path)


def _load(environ: dict[str, str] | None = None, **options: Any) -> ServerSettings:
    return load_settings(options, environ or {})


def _value(settings: ServerSettings, name: str) -> object:
    return getattr(settings, _FIELDS.get(name, name))


def test_defaults() -> None:
    """Nothing is set anywhere."""
    assert _load() == DEFAULTS
    assert attrs.asdict(DEFAULTS, recurse=False) == {
        "listen": ("tcp://127.0.0.1:12345",),
        "backlog": 1024,
        "agencies": 5,
        "log_level": "INFO",
        "store": "sqlite:///bets.db",
        "draw": 1,
        "winning_number": 7574,
        "workers": 4,
        "revision": 9,
        "exit_after_draw": False,
        "grace_s": 8.0,
        "control": "",
        "tls_cert": "",
        "tls_key": "",
        "tls_ca": "",
        "tls_min": "1.3",
        "tls_pins": "",
        "limits": Limits(),
    }


@pytest.mark.parametrize(("name", "variable", "_key", "text", "value"), PLACES, ids=_IDS)
def test_option_and_environment(name: str, variable: str, _key: str | None, text: str, value: object) -> None:
    """Each setting has an option and a variable; the option wins; a variable that is empty is not set."""
    assert _value(_load({variable: text}), name) == value
    assert _value(_load({variable: ""}), name) == _value(DEFAULTS, name)
    assert _value(_load({variable: "nonsense"}, **{name: text}), name) == value


@pytest.mark.parametrize(("name", "variable", "key", "text", "value"), [place for place in PLACES if place[2]], ids=str)
def test_file(tmp_path: Path, name: str, variable: str, key: str, text: str, value: object) -> None:
    """The legacy server's keys; the environment wins over them."""
    config = _ini(tmp_path, f"{key} = {text}")
    assert _value(_load(config=config), name) == value
    config = _ini(tmp_path, f"{key} = nonsense")
    assert _value(_load({variable: text}, config=config), name) == value


def test_port_and_address(tmp_path: Path) -> None:
    """A port makes a URL on this machine; addresses win over it wherever they stand; SERVER_IP means nothing."""
    assert _load({"SERVER_PORT": "7"}).listen == ("tcp://127.0.0.1:7",)
    config = _ini(tmp_path, "SERVER_PORT = 8", "SERVER_IP = server")
    assert _load(config=config).listen == ("tcp://127.0.0.1:8",)
    assert _load({"SERVER_PORT": "7"}, config=config).listen == ("tcp://127.0.0.1:7",)
    both = ("tcp://[::1]:1", "unix:///s")
    assert _load({"SERVER_PORT": "7", "BETS_LISTEN": "tcp://x:1"}, listen=both).listen == both
    assert _load({"BETS_LISTEN": ", ".join(both)}).listen == both
    assert _load(config=_ini(tmp_path, "LISTEN = tcp://x:1 tcp://y:2")).listen == ("tcp://x:1", "tcp://y:2")


KUBERNETES = {
    f"{service}_{suffix}": value
    for service in ("SERVER", "BETS", "BETS_SERVER", "CLI_SERVER", "CLI", "LOGGING", "EXPECTED")
    for suffix, value in {
        "PORT": "tcp://10.0.0.1:12345",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "12345",
        "SERVICE_PORT_BETS": "12345",
        "PORT_12345_TCP": "tcp://10.0.0.1:12345",
        "PORT_12345_TCP_PROTO": "tcp",
        "PORT_12345_TCP_PORT": "12345",
        "PORT_12345_TCP_ADDR": "10.0.0.1",
    }.items()
}
"""What Kubernetes sets in every pod for Services of these names."""


def test_variables_of_kubernetes(tmp_path: Path) -> None:
    """A Service named `server` sets SERVER_PORT to no port: not looked at where an address is given, wherever that is;
    else an error that says so. No other Service is in the way of a setting."""
    given = [
        _load(KUBERNETES, listen=("tcp://0.0.0.0:1",)),
        _load({**KUBERNETES, "BETS_LISTEN": "tcp://0.0.0.0:1"}),
        _load(KUBERNETES, config=_ini(tmp_path, "LISTEN = tcp://0.0.0.0:1")),
    ]
    assert given == [attrs.evolve(DEFAULTS, listen=("tcp://0.0.0.0:1",))] * 3
    with pytest.raises(ConfigError) as caught:
        _load(KUBERNETES)
    assert str(caught.value) == (
        "environment SERVER_PORT: 'tcp://10.0.0.1:12345': expected a whole number from 0 to 65535. Kubernetes sets "
        "this variable to an address where a Service is named `server`: give --listen or BETS_LISTEN, or set "
        "enableServiceLinks: false in the pod"
    )
    others = {name: value for name, value in KUBERNETES.items() if name != "SERVER_PORT"}
    assert _load(others) == DEFAULTS


def test_backlog_stands_in_for_the_agencies(tmp_path: Path) -> None:
    """As in the legacy server: where nothing says how many agencies there are, a backlog that is set does."""
    assert _load({"SERVER_LISTEN_BACKLOG": "3"}).agencies == 3
    assert _load({"SERVER_LISTEN_BACKLOG": "1000"}).agencies == 255
    assert _load({"SERVER_LISTEN_BACKLOG": "3", "EXPECTED_CLIENTS": "2"}).agencies == 2
    assert _load(backlog="4").agencies == 4
    config = _ini(tmp_path, "SERVER_LISTEN_BACKLOG = 6")
    assert _load(config=config).agencies == 6
    assert _load({"EXPECTED_CLIENTS": "2"}, config=config).agencies == 2
    assert _load({"SERVER_LISTEN_BACKLOG": ""}).agencies == 5


BAD = [
    ("SERVER_PORT", "65536", "a whole number from 0 to 65535"),
    ("SERVER_PORT", "http", "a whole number from 0 to 65535"),
    ("SERVER_LISTEN_BACKLOG", "0", "a whole number from 1 to 65535"),
    ("EXPECTED_CLIENTS", "0", "a whole number from 1 to 255"),
    ("EXPECTED_CLIENTS", "256", "a whole number from 1 to 255"),
    ("EXPECTED_CLIENTS", "٣", "a whole number from 1 to 255"),
    ("LOGGING_LEVEL", "LOUD", "one of DEBUG"),
    ("BETS_DRAW", "4294967296", "a whole number from 0 to 4294967295"),
    ("BETS_WINNING_NUMBER", "10000", "a whole number from 0 to 9999, or 'random'"),
    ("BETS_WORKERS", "0", "a whole number from 1 to 64"),
    ("BETS_REVISION", "4", "one of 5, 6, 9"),
    ("BETS_EXIT_AFTER_DRAW", "perhaps", "1, true"),
    ("BETS_GRACE", "-1", "a number from 0 to 3600"),
    ("BETS_STORE", '"sqlite:///bets.db"', "sqlite:///PATH or csv:///PATH; the quotes are part of the value"),
]


@pytest.mark.parametrize(("variable", "text", "expected"), BAD, ids=[f"{name}={text}" for name, text, _ in BAD])
def test_bad_value(variable: str, text: str, expected: str) -> None:
    """The error names the place, the value and what was expected."""
    with pytest.raises(ConfigError) as raised:
        _load({variable: text})
    assert str(raised.value).startswith(f"environment {variable}: {text!r}: expected {expected}")


def test_bad_value_of_an_option() -> None:
    """It is blamed by the name that the user typed."""
    with pytest.raises(ConfigError, match="--winning-number: 'lucky': expected"):
        _load(winning_number="lucky")


def test_bad_file(tmp_path: Path) -> None:
    """File, key and value are named: unknown keys, bad values, keys that only other places know, no such file."""
    for line, key, value in (
        ("SERVER_PROT = 12", "SERVER_PROT", "'12'"),
        ("SERVER_PORT = 70000", "SERVER_PORT", "'70000'"),
        ("STORE = csv:///x", "STORE", "'csv:///x'"),
    ):
        config = _ini(tmp_path, line)
        with pytest.raises(ConfigError) as raised:
            _load(config=config)
        assert str(raised.value).startswith(f"{config}: {key}: {value}: ")
    with pytest.raises(ConfigError, match=r"nowhere\.ini: cannot read the configuration file: No such file"):
        _load(config="nowhere.ini")


def test_legacy_file(tmp_path: Path) -> None:
    """The configuration file of the legacy server as it is."""
    config = _ini(
        tmp_path, "SERVER_PORT = 12345", "SERVER_IP = server", "SERVER_LISTEN_BACKLOG = 5", "LOGGING_LEVEL = INFO"
    )
    assert _load(config=config) == attrs.evolve(DEFAULTS, backlog=5, agencies=5)
