"""One table of settings a program: click's options, the tables of the docs and the values come from it.

Strategy: a program lists its settings as data (`Setting`). `click_options` declares them to click, and `resolve` finds
each value in the first of four places that has one: option, environment, file, default. A value is text until its
setting's `parse` has taken it; an error names the place, the key, the value and what was expected. click itself
converts no value and reads no variable: a command also checks settings that it has no option for.

Keys of a file are compared without regard to case, as the legacy programs did; an unknown key is an error, since it may
be a typing error. An empty environment variable counts as not set. `--help` loads this module, so it loads no socket.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import click

from bets_protocol.cli.log_format import LEVELS, one_line
from bets_protocol.errors import ConfigError

FILE = click.Path()
FOLDER = click.Path(file_okay=False)

_IN_CLASS = "setting"


def _typed_name(setting: Setting) -> str:
    return "--" + setting.name.replace("_", "-")


def _variable(setting: Setting) -> Sequence[str]:
    return ("BETS_" + setting.option.partition("/")[0].lstrip("-").replace("-", "_").upper(),)


@attrs.frozen(kw_only=True, eq=False, repr=False)  # methods that nothing calls would slow --help
class Setting:
    """One setting and the places of its value.

    Args:
        name: as in the mapping of options, with underscores.
        text: its description in help and the docs; begins a sentence.
        metavar: what help shows for the value.
        shown: the default in words, if `default` does not say it.
        parse: takes the text; raises ValueError saying what was expected. An option of a `boolean` is a flag.
        complete: the type whose values a shell completes.
        default: the value if no place has one; not parsed.
        option: as the user types it; `short` is its short form.
        env: environment variables; the first that is set counts.
        key: in the configuration file, if it may be there; for YAML the path with dots.
        repeated: the value is a tuple; in the environment and in a file, blanks or commas separate its parts.
        unless: the name of another setting; this one is not read if any place has that one.
    """

    name: str
    text: str = ""
    metavar: str = "TEXT"
    shown: str = ""
    parse: Callable[[str], Any] = str
    complete: click.Path | click.Choice[str] | None = None
    default: Any = None
    option: str = attrs.field(default=attrs.Factory(_typed_name, takes_self=True))
    short: str = ""
    env: Sequence[str] = attrs.field(default=attrs.Factory(_variable, takes_self=True))
    key: str | None = None
    repeated: bool = False
    unless: str | None = None

    @property
    def default_text(self) -> str:
        """The default as help and the docs show it, or empty."""
        if self.shown or self.default in (None, False, "", ()):
            return self.shown
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def setting(text: str, default: Any = None, parse: Callable[[str], Any] = str, **more: Any) -> Any:
    """A field of an attrs class that is a setting with the field's name, without the unit `_s`; see `Setting`."""
    return attrs.field(default=default, metadata={_IN_CLASS: {"text": text, "parse": parse, **more}})


def settings_of(cls: type[attrs.AttrsInstance]) -> tuple[Setting, ...]:
    """The settings among the fields of `cls`, in their order."""
    return tuple(
        Setting(name=field.name.removesuffix("_s"), default=field.default, **field.metadata[_IN_CLASS])
        for field in attrs.fields(cls)
        if _IN_CLASS in field.metadata
    )


def fields_of(cls: type[attrs.AttrsInstance], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of those fields of `cls` that have the name of a setting."""
    names = {field.name: field.name.removesuffix("_s") for field in attrs.fields(cls)}
    return {field: values[name] for field, name in names.items() if name in values}


def click_options(settings: Iterable[Setting], *names: str) -> list[click.Parameter]:
    """The options of `settings` for a click command: those of `names` in this order, else all.

    What the user types stays text, and None says that nothing was given: `resolve` does the rest.
    """
    table = {one.name: one for one in settings}
    return [_click_option(table[name]) for name in names or table]


@functools.cache  # most commands share most options
def _click_option(one: Setting) -> click.Option:
    names = [name for name in (one.short, one.option, one.name) if name]
    default = f" (default {one.default_text})" if one.default_text else ""
    text = f"{one.text}{default}. Environment: {', then '.join(one.env)}."
    if one.parse is boolean:
        return click.Option(names, is_flag=True, default=None, help=text)
    complete = one.complete.shell_complete if one.complete is not None else None
    return click.Option(names, metavar=one.metavar, multiple=one.repeated, shell_complete=complete, help=text)


def choice(*choices: Any) -> dict[str, Any]:
    """What `Setting` gets for a setting that takes one of `choices`."""
    known = {str(value): value for value in choices}

    def parse(text: str) -> Any:
        if text not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return known[text]

    return {"metavar": "|".join(known), "parse": parse, "complete": click.Choice(list(known))}


class Resolved(dict[str, Any]):
    """The value of every setting by its name, and the place that it came from."""

    def __init__(self) -> None:
        self.origins: dict[str, str] = {}

    def origin(self, name: str) -> str | None:
        """The place as it is shown to a user, such as `--agency` or `environment CLI_ID`, or None for the default."""
        return self.origins.get(name)


def resolve(
    settings: Iterable[Setting],
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    file: Mapping[str, str] | None = None,
    file_name: str = "",
) -> Resolved:
    """Find the value of every setting.

    Args:
        options: from the command line, by the settings' names. None and the empty tuple mean not given; a value that is
            not text (a flag) is not parsed.
        file: from `read_ini` or `read_yaml`, if there is one.
        file_name: for errors.

    Raises:
        ConfigError: a value does not parse, or the file has a key that no setting has, or one twice.
    """
    settings = list(settings)
    in_file = _known_keys(settings, file or {}, file_name)
    found = Resolved()
    for setting in sorted(settings, key=lambda setting: setting.unless is not None):
        found[setting.name] = setting.default
        if setting.unless in found.origins:
            continue
        places = [(setting.option, options.get(setting.name))]
        places += [(f"environment {variable}", environ.get(variable) or None) for variable in setting.env]
        if setting.key is not None and setting.key.casefold() in in_file:
            written, text = in_file[setting.key.casefold()]
            places.append((f"{file_name}: {written}", text))
        for origin, value in places:
            if value is not None and value != ():
                found[setting.name], found.origins[setting.name] = _parsed(setting, origin, value), origin
                break
    return found


def _known_keys(settings: Sequence[Setting], file: Mapping[str, str], file_name: str) -> dict[str, tuple[str, str]]:
    """The file's keys, folded, with how each was written and its value."""
    known = {setting.key.casefold(): setting.key for setting in settings if setting.key is not None}
    found: dict[str, tuple[str, str]] = {}
    for key, value in file.items():
        folded = key.casefold()
        if folded not in known:
            expected = ", ".join(sorted(known.values()))
            raise ConfigError(f"{file_name}: {one_line(key)}: {value!r}: unknown key; expected one of {expected}")
        if folded in found:
            raise ConfigError(f"{file_name}: {key}: {value!r}: expected each key once; see {found[folded][0]}")
        found[folded] = (key, value)
    return found


def _parsed(setting: Setting, origin: str, value: Any) -> Any:
    if not setting.repeated:
        return _parsed_one(setting, origin, value)
    parts = re.split(r"[\s,]+", value.strip(" \t,")) if isinstance(value, str) else value
    return tuple(_parsed_one(setting, origin, part) for part in parts)


def _parsed_one(setting: Setting, origin: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return setting.parse(value)
    except ValueError as error:
        # Neither an INI file nor `docker run --env-file` takes them away, as a shell and YAML do.
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        hint = "; the quotes are part of the value, leave them away" if quoted else ""
        raise ConfigError(f"{origin}: {value!r}: {error}{hint}") from error


# Parsers: each takes text and raises ValueError with what was expected.


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` to `high` in ASCII digits: no sign, blank or underscore."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,20}", text) is None or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def decimal_number(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers from `low` to `high`, with or without a decimal point."""

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", text) is None or not low <= float(text) <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return float(text)

    return parse


def boolean(text: str) -> bool:
    """Take `1`, `true`, `yes`, `on` or `0`, `false`, `no`, `off`, in any case."""
    word = text.casefold()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("expected 1, true, yes, on, 0, false, no or off")


def address(text: str) -> str:
    """Take the URL of a known transport."""
    from bets_protocol.transports import UrlError, known_url  # loads sockets

    try:
        known_url(text)
    except UrlError as error:
        raise ValueError(error.reason) from error
    return text


def _log_level(text: str) -> str:
    name = text.upper()
    if name not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}")
    return name


LOG_LEVEL: Mapping[str, Any] = {
    "text": "The least level that is logged: DEBUG, INFO, WARNING or ERROR",
    "metavar": "LEVEL",
    "default": "INFO",
    "parse": _log_level,
    "complete": click.Choice(list(LEVELS)),
}
"""What `Setting` gets for the level of the log."""
