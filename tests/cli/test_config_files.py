"""INI and YAML files give flat keys with the text as written; anything unclear is an error that says where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bets_protocol import ConfigError
from bets_protocol.cli.config_files import read_ini, read_yaml


def written(folder: Path, text: str | bytes, name: str = "config") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_an_ini_file_gives_the_keys_of_its_default_section(tmp_path: Path) -> None:
    """Keys keep their case, values are text."""
    path = written(tmp_path, "[DEFAULT]\nSERVER_PORT = 12345\nSERVER_IP=server\nLOGGING_LEVEL = INFO\n")
    assert read_ini(path) == {"SERVER_PORT": "12345", "SERVER_IP": "server", "LOGGING_LEVEL": "INFO"}


def test_an_ini_value_is_not_interpolated(tmp_path: Path) -> None:
    """A percent sign is itself."""
    assert read_ini(written(tmp_path, "[DEFAULT]\nSTORE = 100%(x)s\n")) == {"STORE": "100%(x)s"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SERVER_PORT = 1\n", "no section headers"),
        ("[DEFAULT]\nA = 1\nA = 2\n", "already exists"),
        ("[DEFAULT]\nA = 1\n[other]\nB = 2\n", r"section \[other\]"),
        ("[DEFAULT]\nnonsense\n", "parsing errors"),
        (b"[DEFAULT]\nA = \xff\n", "expected UTF-8"),
    ],
)
def test_an_ini_file_that_is_none_is_refused_by_name(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """A missing or second section, a double key and bad bytes are errors."""
    path = written(tmp_path, text, "server.ini")
    with pytest.raises(ConfigError, match=reason) as caught:
        read_ini(path)
    assert "server.ini" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_yaml_file_gives_dotted_keys_and_the_text_as_written(tmp_path: Path) -> None:
    """Nested keys are joined, and no value is converted."""
    path = written(
        tmp_path,
        "server:\n  address: server:12345\nloop:\n  amount: 0x5\n  period: 5s\nlog: {level: INFO}\nid: '1'\non: yes\n",
    )
    assert read_yaml(path) == {
        "server.address": "server:12345",
        "loop.amount": "0x5",
        "loop.period": "5s",
        "log.level": "INFO",
        "id": "1",
        "on": "yes",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "\ufeffid: 1\n"])
def test_a_yaml_file_may_be_empty_or_begin_with_a_bom(tmp_path: Path, text: str) -> None:
    """A file without a key gives no settings."""
    assert read_yaml(written(tmp_path, text)) == ({"id": "1"} if "id" in text else {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id: 1\nid: 2\n", r":2: id: '2': expected each key once; it already is '1'"),
        ("log.level: INFO\nlog: {level: DEBUG}\n", r":2: log.level: 'DEBUG': expected each key once"),
        ("id: [1, 2]\n", r":1: id: expected keys with values, found a list"),
        ("- id\n", r":1: the file: expected keys with values, found a list"),
        ("just text\n", r":1: expected keys with values, found 'just text'"),
        ("log:\n  level:\n", r":2: log.level: '': expected a value"),
        ("id: ~\n", r":1: id: '~': expected a value"),
        ("? [a]\n: 1\n", r"expected keys that are plain text"),
        ("a: &a\n  b: *a\n", r"more levels than any setting has"),
        ('"a\\nb": [1]\n', r":1: a\\x0ab: expected keys with values, found a list"),
        ("[" * 900, "more levels than any setting has"),
        ("id: {\n", "not a YAML file"),
        ("id: \x01\n", "not a YAML file"),
        (b"id: \xff\n", "expected UTF-8"),
    ],
)
def test_a_yaml_file_that_is_unclear_is_refused_by_name(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """Double keys, lists and empty values are errors with their line."""
    path = written(tmp_path, text, "client.yaml")
    with pytest.raises(ConfigError, match=reason) as caught:
        read_yaml(path)
    assert "client.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_ini, read_yaml])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read: object) -> None:
    """A missing file and a folder are errors with the path."""
    assert callable(read)
    with pytest.raises(ConfigError, match="nowhere: cannot read the configuration file: No such file"):
        read(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="Is a directory; Docker makes one where"):
        read(str(tmp_path))


def test_without_pyyaml_a_yaml_file_is_a_clear_error_and_everything_else_works() -> None:
    """The error names the missing package."""
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from bets_protocol import ConfigError\n"
        "from bets_protocol.cli.config_files import read_yaml\n"
        "try: read_yaml('x.yaml')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "x.yaml: reading a YAML file needs the package PyYAML\n"
