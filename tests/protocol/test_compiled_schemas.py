"""What `compile_schema` gives can be taken away: committed as Python or C, pickled, sent to other processes."""

from __future__ import annotations

import builtins
import copy
import importlib
import importlib.machinery
import importlib.util
import keyword
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import construct as c
import pytest

from bets_protocol import DecodeError, InvalidMessage
from bets_protocol.compiler import CompiledSchema, compile_schema
from bets_protocol.compiler.python.source import GLOBAL_NAMES
from bets_protocol.layout.rules import digits, printable_name
from bets_protocol.schema import Ruled
from tests.protocol.declarations import NASTY_NAMES

COMPILER = shutil.which(os.environ.get("CC", "cc"))
PROJECT = Path(__file__).resolve().parents[2]


def declaration() -> Any:
    """A bit of everything, with classes called as the parts of a layout are."""
    return "Record" / c.Struct(
        c.Const(b"WX"),
        "kind" / c.Enum(c.Int8ub, temperature=1, wind=2),
        "value"
        / c.Switch(
            c.this.kind,
            {"temperature": c.Float32b, "wind": "Field" / c.Struct("speed" / c.Int16ub, "wide" / c.BytesInteger(9))},
            default=c.Error,
        ),
        "rows"
        / c.PrefixedArray(c.Int8ub, c.Prefixed(c.Int8ub, "Int" / c.Struct("note" / c.PascalString(c.Int8ub, "utf8")))),
        "name" / Ruled(c.PascalString(c.Int8ub, "utf8"), printable_name()),
        "code" / Ruled(c.FixedSized(4, c.GreedyString("ascii")), digits()),
        c.Terminated,
    )


def a_message(of: Any) -> Any:
    """A message of the classes that `of` has, a namespace or a schema."""
    classes = of.classes if isinstance(of, CompiledSchema) else vars(of)
    rows = tuple(classes["Int"](note=note) for note in ("", 'quote"\\', "ñandú"))
    value = classes["Field"](speed=3, wide=2**70)
    return classes["Record"](kind=2, value=value, rows=rows, name="Ana", code="0042")


@pytest.fixture
def weather() -> CompiledSchema:
    return compile_schema(declaration(), name="weather")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from, and forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def assert_works(module: Any, weather: CompiledSchema) -> None:
    """A committed module does what the schema does, with classes of its own that can be pickled."""
    message, data = a_message(module), weather.encode(a_message(weather))
    assert module.encode_weather(message) == data
    assert module.decode_weather(data) == message
    module.check_weather(memoryview(data))
    with pytest.raises(StopIteration) as end:
        next(module.scan_weather(bytearray(data)))
    assert end.value.value == len(data)
    with pytest.raises(DecodeError, match="value at byte 3: expected kind to be one of 1, 2, not 9"):
        module.decode_weather(b"WX\x09" + data[3:])
    with pytest.raises(InvalidMessage, match="code: expected 4 bytes"):
        attrs.evolve(message, code="1")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(message, protocol)) == message
    assert type(message).__module__ == module.__name__
    assert type(message) is not weather.message_class


def compile_c(source: str, name: str, folder: Path) -> None:
    """An extension module `name` in `folder`, without a warning."""
    path = folder / f"{name}.c"
    path.write_text(source, encoding="ascii")
    target = folder / f"{name}{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-function", "-Werror"]
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run([str(COMPILER), *flags, include, str(path), "-o", str(target)], check=True, timeout=120)


def imported(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(name)


def test_the_python_source_is_a_module(weather: CompiledSchema, folder: Path) -> None:
    """It can be committed and imported, and its messages pickled like those of any module."""
    (folder / "weather_module.py").write_text(weather.python_source, encoding="utf-8")
    assert_works(imported("weather_module"), weather)


def test_the_python_source_needs_no_construct(weather: CompiledSchema, folder: Path) -> None:
    """Nor the compiler: that is what it is committed for."""
    (folder / "weather_module.py").write_text(weather.python_source, encoding="utf-8")
    code = "import sys, weather_module; print([n for n in sys.modules if n in ('construct', 'bets_protocol.compiler')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
def test_the_c_source_is_a_module(weather: CompiledSchema, folder: Path) -> None:
    """It has the classes and needs no binding; it can be bound to others all the same."""
    compile_c(weather.c_source("weather_c"), "weather_c", folder)
    module = imported("weather_c")
    assert_works(module, weather)
    (folder / "weather_module.py").write_text(weather.python_source, encoding="utf-8")
    pure = imported("weather_module")
    module.bind(vars(pure), vars(pure))
    assert module.decode_weather(weather.encode(a_message(weather))) == a_message(pure)


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
def test_the_c_source_can_be_a_part_of_a_package(weather: CompiledSchema, folder: Path) -> None:
    """Its classes know the whole name."""
    (folder / "station").mkdir()
    (folder / "station" / "__init__.py").touch()
    compile_c(weather.c_source("station._weather"), "_weather", folder / "station")
    assert_works(imported("station._weather"), weather)
    for name in ("", "a b", "größe", "a..b", "class", 'a"b'):
        with pytest.raises(ValueError, match="expected the name of a module"):
            weather.c_source(name)


def test_names_that_emitted_code_might_want_are_free(folder: Path) -> None:
    """Every builtin, soft keyword and name of the emitted code can be a field; in C, too."""
    nasty = {*NASTY_NAMES, *GLOBAL_NAMES, *dir(builtins), *keyword.softkwlist, "state", "PyObject", "int64_t", "größe"}
    names = sorted(name for name in nasty if name[0] != "_" and not keyword.iskeyword(name))
    kinds = (c.PascalString(c.Int8ub, "utf8"), c.PrefixedArray(c.Int8ub, c.Int16ub), c.Int24ub)
    values = ("text", (1, 2), 3)
    fields = [name / kinds[at % 3] for at, name in enumerate(names)]
    compiled = compile_schema("Made" / c.Struct(*fields), name="be")  # put_be is a function of the C runtime
    message = compiled.message_class(**{name: values[at % 3] for at, name in enumerate(names)})
    data = compiled.encode(message)
    assert compiled.decode(data) == message
    assert [getattr(message, name) for name in names] == [values[at % 3] for at in range(len(names))]
    with pytest.raises(StopIteration):
        next(compiled.scan(bytearray(data)))
    if COMPILER is not None:
        compile_c(compiled.c_source("nasty_names"), "nasty_names", folder)
        module: Any = imported("nasty_names")
        assert attrs.asdict(module.decode_be(data)) == attrs.asdict(message)
        assert module.encode_be(module.decode_be(data)) == data


@pytest.mark.parametrize("name", ["", "a b", "class", "\u00b5", "1a", "a.b", "\ud800", "ŉ"])
def test_a_frame_has_a_name_that_python_reads_as_it_stands(name: str) -> None:
    """Functions are called after it, and in capitals its layout."""
    with pytest.raises(ValueError, match="expected an identifier"):
        compile_schema("X" / c.Struct("x" / c.Int8ub), name=name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_schemas_and_messages_can_be_pickled(weather: CompiledSchema, protocol: int) -> None:
    """Here they come out as what they were; the schema is the same object."""
    messages = [a_message(weather), a_message(weather).rows[1]]
    assert pickle.loads(pickle.dumps((weather, messages), protocol)) == (weather, messages)
    assert pickle.loads(pickle.dumps(messages[0], protocol)) == messages[0]


def test_schemas_and_messages_can_be_copied(weather: CompiledSchema) -> None:
    """A copy is of the same class."""
    message = a_message(weather)
    assert copy.copy(message) == message == copy.deepcopy(message)
    assert copy.copy(weather) is weather
    assert copy.deepcopy(weather) is weather


def test_the_same_declaration_gives_the_same_classes(weather: CompiledSchema) -> None:
    """As long as they are in use; another name or another field gives others."""
    assert compile_schema(declaration(), name="weather") is weather
    assert compile_schema(declaration(), name="other").message_class is not weather.message_class


def test_messages_go_to_a_process_that_has_never_seen_their_schema(weather: CompiledSchema) -> None:
    """As in a pool whose workers are started anew: it is compiled there, and what comes back is the same here."""
    code = (
        "import pickle, sys; message = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps((message, message.rows[::-1])))"
    )
    message = a_message(weather)
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(message),
        capture_output=True,
        timeout=60,
        check=True,
        cwd=PROJECT,
    )
    assert pickle.loads(done.stdout) == (message, message.rows[::-1])
