"""INI and YAML files as flat mappings from key to text.

Every value stays the text in the file, so that a setting needs one parser for all places, and an error can show what
was written. Hence only the *nodes* of PyYAML are used: its values would already be numbers and dates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bets_protocol.cli.log_format import one_line
from bets_protocol.cli.signals import interruptible
from bets_protocol.errors import ConfigError, why_unreadable

if TYPE_CHECKING:
    import yaml

_MAX_DEPTH = 8  # more than any key has, and an end for a YAML file that contains itself
_NULL = "tag:yaml.org,2002:null"


def read_ini(path: str) -> dict[str, str]:
    """The keys of section `[DEFAULT]` of an INI file.

    Raises:
        ConfigError: the file cannot be read, is no INI file, has another section, or a key twice.
    """
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys are shown as they were written
    try:
        parser.read_string(_text_of(path), source=path)
    except configparser.Error as error:
        raise ConfigError(" ".join(str(error).split())) from error
    for section in parser.sections():
        raise ConfigError(f"{path}: section [{one_line(section)}]: expected no section but [DEFAULT]")
    return dict(parser.defaults())


def read_yaml(path: str) -> dict[str, str]:
    """The keys of a YAML file, nested ones joined by dots: `log: {level: INFO}` gives `log.level`.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, has a key twice, or a list or nothing as a value;
            or PyYAML is not there.
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"{path}: reading a YAML file needs the package PyYAML") from error
    try:
        document = yaml.compose(_text_of(path), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    except RecursionError as error:  # PyYAML goes down as deep as the file does
        raise ConfigError(f"{path}: expected keys with values, found more levels than any setting has") from error
    keys: dict[str, str] = {}
    if document is not None:
        _flatten(path, document, "", keys, depth=0)
    return keys


def _flatten(path: str, node: yaml.Node, key: str, keys: dict[str, str], *, depth: int) -> None:
    import yaml

    where = f"{path}:{node.start_mark.line + 1}"
    shown = one_line(key)
    if isinstance(node, yaml.ScalarNode):
        if not key and node.tag == _NULL:  # an empty document
            return
        if not key:
            raise ConfigError(f"{where}: expected keys with values, found {node.value!r}")
        if node.tag == _NULL:
            raise ConfigError(f"{where}: {shown}: {node.value!r}: expected a value")
        if key in keys:
            raise ConfigError(f"{where}: {shown}: {node.value!r}: expected each key once; it already is {keys[key]!r}")
        keys[key] = node.value
    elif isinstance(node, yaml.MappingNode) and depth < _MAX_DEPTH:
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError(f"{where}: {shown or 'the file'}: expected keys that are plain text")
            _flatten(path, value, f"{key}.{name.value}" if key else name.value, keys, depth=depth + 1)
    else:
        what = "a list" if isinstance(node, yaml.SequenceNode) else "more levels than any setting has"
        raise ConfigError(f"{where}: {shown or 'the file'}: expected keys with values, found {what}")


def _text_of(path: str) -> str:
    try:
        # It may be a pipe without a writer.
        with interruptible(), open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {why_unreadable(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text: {error.reason} at byte {error.start}") from error
