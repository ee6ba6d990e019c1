"""Settings: option, environment, file, default, in this order; what cannot be used is named with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bets_protocol import ConfigError
from bets_protocol.cli.settings import (
    LOG_LEVEL,
    Setting,
    address,
    boolean,
    choice,
    decimal_number,
    resolve,
    whole_number,
)

AGENCY = Setting(name="agency", env=("AGENCIA", "CLI_ID"), key="id", parse=whole_number(1, 255), default=9)
LISTEN = Setting(name="listen", env=("BETS_LISTEN",), key="LISTEN", repeated=True, default=("tcp://h:1",))
QUIET = Setting(name="quiet", parse=boolean, default=False, env=("BETS_QUIET",))


@pytest.mark.parametrize(
    ("options", "environ", "file", "value", "origin"),
    [
        ({"agency": "1"}, {"AGENCIA": "2", "CLI_ID": "3"}, {"id": "4"}, 1, "--agency"),
        ({"agency": None}, {"AGENCIA": "2", "CLI_ID": "3"}, {"id": "4"}, 2, "environment AGENCIA"),
        ({}, {"CLI_ID": "3"}, {"id": "4"}, 3, "environment CLI_ID"),
        ({}, {"AGENCIA": "", "CLI_ID": ""}, {"id": "4"}, 4, "client.yaml: id"),
        ({}, {}, {"ID": "4"}, 4, "client.yaml: ID"),
        ({}, {}, {}, 9, None),
        ({}, {}, None, 9, None),
    ],
)
def test_the_first_place_that_has_a_value_wins(
    options: dict[str, Any], environ: dict[str, str], file: dict[str, str] | None, value: int, origin: str | None
) -> None:
    """Option, variables, file and default are asked in this order."""
    found = resolve([AGENCY], options, environ, file, "client.yaml")
    assert (found["agency"], found.origin("agency")) == (value, origin)
    assert dict(found) == {"agency": value}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("options", "environ", "file", "text"),
    [
        ({"agency": "0"}, {}, {}, "--agency: '0': expected a whole number from 1 to 255"),
        ({"agency": ""}, {}, {}, "--agency: '': expected a whole number from 1 to 255"),
        ({}, {"CLI_ID": "x"}, {}, "environment CLI_ID: 'x': expected a whole number from 1 to 255"),
        ({}, {}, {"id": "1_0"}, "client.yaml: id: '1_0': expected a whole number from 1 to 255"),
        ({}, {}, {"idd": "1"}, "client.yaml: idd: '1': unknown key; expected one of LISTEN, id"),
        ({}, {}, {"i\nd": "1"}, "client.yaml: i\\x0ad: '1': unknown key; expected one of LISTEN, id"),
        ({}, {}, {"id": "1", "Id": "2"}, "client.yaml: Id: '2': expected each key once; see id"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_place(
    options: dict[str, Any], environ: dict[str, str], file: dict[str, str], text: str
) -> None:
    """The error has option, variable or key, and the value."""
    with pytest.raises(ConfigError) as caught:
        resolve([AGENCY, LISTEN], options, environ, file, "client.yaml")
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "environ", "file", "value"),
    [
        ({"listen": ("a", "b")}, {"BETS_LISTEN": "c"}, {}, ("a", "b")),
        ({"listen": ()}, {"BETS_LISTEN": " c, d e "}, {}, ("c", "d", "e")),
        ({}, {}, {"listen": "f"}, ("f",)),
        ({}, {}, {}, ("tcp://h:1",)),
    ],
)
def test_a_repeated_setting_is_a_tuple(
    options: dict[str, Any], environ: dict[str, str], file: dict[str, str], value: tuple[str, ...]
) -> None:
    """Options repeat, variables are split at commas and blanks."""
    assert resolve([LISTEN], options, environ, file)["listen"] == value


@pytest.mark.parametrize(
    ("options", "environ", "file", "place"),
    [
        ({}, {"PORT": '"12345"'}, {}, "environment PORT"),
        ({}, {}, {"port": "'12345'"}, "bets.ini: port"),
        ({"port": '"12345"'}, {}, {}, "--port"),
    ],
)
def test_quotes_that_nobody_takes_away_are_named(
    options: dict[str, str], environ: dict[str, str], file: dict[str, str], place: str
) -> None:
    """`docker run --env-file` and INI files keep them, where a shell and YAML do not."""
    setting = Setting(name="port", env=("PORT",), key="port", parse=whole_number(0, 65535))
    with pytest.raises(ConfigError, match="the quotes are part of the value, leave them away") as caught:
        resolve([setting], options, environ, file, "bets.ini")
    assert str(caught.value).startswith(f"{place}: ")
    with pytest.raises(ConfigError) as caught:
        resolve([setting], {"port": '"'}, {})
    assert "quotes" not in str(caught.value)


def test_an_option_that_is_no_text_is_taken_as_it_is() -> None:
    """A flag needs no parser."""
    assert resolve([QUIET], {"quiet": True}, {"BETS_QUIET": "0"})["quiet"] is True


def test_an_option_with_two_names_is_shown_as_it_is_written() -> None:
    """The error has both forms of the flag."""
    setting = Setting(name="progress", parse=boolean, option="--progress/--no-progress")
    with pytest.raises(ConfigError, match="--progress/--no-progress: 'x'"):
        resolve([setting], {"progress": "x"}, {})


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole_number(0, 9999), "0", 0),
        (whole_number(0, 9999), "0042", 42),
        (decimal_number(0, 100), "0.5", 0.5),
        (decimal_number(0, 100), "100", 100.0),
        (choice("text", "json")["parse"], "json", "json"),
        (boolean, "YES", True),
        (boolean, "off", False),
        (LOG_LEVEL["parse"], "debug", "DEBUG"),
        (LOG_LEVEL["parse"], "Notice", "NOTICE"),
    ],
)
def test_a_parser_takes(parse: Callable[[str], Any], text: str, value: object) -> None:
    """Each kind of setting gives its value from text."""
    assert parse(text) == value


NO_WHOLE_NUMBERS = ("10", "-1", "+1", "1_0", " 1", "", "1.0", "٣", "9" * 5000)
NO_NUMBERS = ("nan", "inf", "1e1", "-1", "9.1", "", ".5", "5.")


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        *[(whole_number(0, 9), text, "expected a whole number from 0 to 9") for text in NO_WHOLE_NUMBERS],
        *[(decimal_number(0, 9), text, "expected a number from 0 to 9") for text in NO_NUMBERS],
        (choice("text", "json")["parse"], "JSON", "expected one of text, json"),
        (boolean, "2", "expected 1, true, yes, on, 0, false, no or off"),
        (LOG_LEVEL["parse"], "LOUD", "expected one of DEBUG, INFO"),
    ],
)
def test_a_parser_refuses(parse: Callable[[str], Any], text: str, expected: str) -> None:
    """Each kind of setting says what it expects."""
    with pytest.raises(ValueError, match=expected):
        parse(text)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:1", "[::1]:2", "tls://host:3", "unix:///there", "memory://name"])
def test_an_address_stays_as_it_is_written(text: str) -> None:
    """Parsing checks an address and does not change it."""
    assert address(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://x:1", "--server: 'http://x:1': unknown scheme 'http'; known are .*memory, tcp, tls, unix"),
        ("tcp://127.0.0.1:bad", "--server: 'tcp://127.0.0.1:bad': .*port.*"),
    ],
)
def test_an_address_that_cannot_be_one_is_blamed_on_its_place(text: str, says: str) -> None:
    """The reason alone behind it: the url stands there already."""
    with pytest.raises(ConfigError, match=rf"^{says}$"):
        resolve([Setting(name="server", parse=address)], {"server": text}, {})
