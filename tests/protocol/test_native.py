"""Which codec runs, that all of them agree, and that any declaration can be compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import construct as c
import pytest

from bets_protocol import DecodeError, codec_info
from bets_protocol.codec.backend import native_module
from bets_protocol.compiler import CompiledSchema, UnsupportedConstruct, compile_schema
from bets_protocol.compiler.bets import NATIVE_FRAMES
from fuzz import declared, differential
from tests.protocol.codecs import NATIVE

FRAMES = {frame.name: frame for frame in differential.FRAMES}

FOREIGN = """
import sys, types
native = types.ModuleType("bets_protocol.generated._native")
native.DIGEST = "made from something else"
sys.modules["bets_protocol.generated._native"] = native
"""


def in_new_process(code: str, **environment: str) -> str:
    """What `code` prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_environment_forces_the_pure_codec() -> None:
    """With BETS_PURE no extension is loaded, built or not, and the reason says so."""
    code = "import sys, bets_protocol as b; print(b.codec_info(), 'bets_protocol.generated._native' in sys.modules)"
    assert in_new_process(code, BETS_PURE="1") == "pure codec: BETS_PURE is set False"


def test_without_an_extension_the_pure_codec_runs() -> None:
    """Where none was built, the library works all the same, and says why."""
    missing = "import sys; sys.modules['bets_protocol.generated._native'] = None"
    code = f"{missing}\nimport bets_protocol as b; print(b.codec_info())"
    assert in_new_process(code, BETS_PURE="") == "pure codec: it was not built"


def test_an_extension_of_other_layouts_is_not_used() -> None:
    """One whose digest differs is left alone, so that an old build can never speak for new declarations."""
    code = FOREIGN + "import bets_protocol as b; print(b.codec_info())"
    shown = in_new_process(code, BETS_PURE="")
    assert shown == "pure codec: it was built from other layouts: install the package again"


IMPORTED_TWICE = """
import gc, sys

def imported():
    import bets_protocol
    frame = bets_protocol.encode(bets_protocol.Winners(documents=["12345678"]))
    return bets_protocol, frame

def dropped():
    for name in [name for name in sys.modules if name.partition(".")[0] == "bets_protocol"]:
        del sys.modules[name]

def works(library, frame):
    message = library.decode(library.Winners, frame)
    assert type(message) is library.Winners, "a class of another import"
    assert library.encode(message) == frame
    client = library.ClientConnection(revision=8)
    client.send(library.WinnersRequest(agency=7))
    client.receive_data(frame)
    assert client.next_event() == message
    for wrong, error in ((frame[:1], library.DecodeError), (frame[:-1] + b"x", library.InvalidValue)):
        try:
            library.decode(library.Winners, wrong)
        except error:
            continue
        raise AssertionError("nothing was refused")
    server = library.ServerConnection()
    server.receive_data(b"\\xff")
    try:
        server.next_event()
    except library.DecodeError:
        return
    raise AssertionError("nothing was refused")
"""


def test_a_second_import_leaves_the_first_alone() -> None:
    """Each import of the library in a process has its own classes and errors, in either codec."""
    code = IMPORTED_TWICE + (
        "first = imported(); dropped(); second = imported(); dropped(); third = imported()\n"
        "assert first[0] is not second[0]\n"
        "for each in (first, second, third, first): works(*each)\n"
        "del first, each; gc.collect()\n"
        "for each in (second, third): works(*each)\n"
        "print(second[0].codec_info().kind)"
    )
    assert in_new_process(code, BETS_PURE="") == codec_info().kind
    assert in_new_process(code, BETS_PURE="1") == "pure"


def test_sub_interpreters_have_a_codec_each() -> None:
    """As mod_wsgi has them: what one of them imports changes nothing in the others, nor does its end."""
    each = IMPORTED_TWICE + f"works(*imported()); assert imported()[0].codec_info().kind == {codec_info().kind!r}"
    code = IMPORTED_TWICE + (
        "try:\n    import _interpreters as interpreters\n"
        "except ImportError:\n    import _xxsubinterpreters as interpreters\n"
        f"code = {each!r}\n"
        "run = getattr(interpreters, 'exec', interpreters.run_string)\n"
        "here = imported()\n"
        "others = [interpreters.create() for _ in range(3)]\n"
        "for other in others * 2:\n"
        "    failed = run(other, code)\n"
        "    assert failed is None, failed\n"
        "    works(*here)\n"
        "for other in others:\n    interpreters.destroy(other)\n    works(*here)\n"
        "print(here[0].codec_info().kind)"
    )
    assert in_new_process(code, BETS_PURE="") == codec_info().kind


def test_the_codec_that_runs_is_named() -> None:
    """`codec_info` says native exactly where the extension runs, and gives a reason where it does not."""
    info = codec_info()
    assert info.kind == ("pure" if native_module() is None else "native")
    assert bool(info.reason) == (info.kind == "pure")


@pytest.mark.skipif(native_module() is None, reason="the pure codec runs")
def test_the_frames_of_the_hot_path_run_in_c() -> None:
    """And no others: a control message of some bytes is as quick in plain Python."""
    assert sorted(NATIVE) == sorted(NATIVE_FRAMES)
    module = native_module()
    functions = {f"{verb}_{name}" for verb in ("check", "decode", "encode", "scan") for name in NATIVE_FRAMES}
    assert {name for name in dir(module) if name.startswith(("check_", "decode_", "encode_", "scan_"))} == functions
    for name in NATIVE:
        assert len(differential.Trio.of(FRAMES[name]).codecs) == 2


def test_all_codecs_agree_with_construct() -> None:
    """Verdict, reason, value and bytes are the same for sound, mutated and random frames of every kind."""
    verdicts = differential.run(2_700, start=5, number=30)
    assert verdicts.total() == 2_700
    assert set(verdicts) >= {"sound", "DecodeError", "InvalidValue"}


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="there is no C compiler")
def test_made_up_declarations_agree_in_python_and_c() -> None:
    """Declarations that have nothing to do with bets do in C what they do in Python and in construct."""
    # `nox -s differential` makes up 500; these six have no frames of tens of kilobytes, which take seconds.
    verdicts, count, in_c = declared.run(6, start=2)
    assert (count, in_c) == (6, True)
    assert set(verdicts) >= {"sound", "DecodeError"}


def test_a_disagreement_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a decoder that takes what construct refuses is noticed at once."""
    trio = differential.Trio.of(FRAMES["ack"])
    assert trio.compare(b"\x05") == "sound"
    monkeypatch.setattr(trio.codecs[0], "decode_ack", lambda _data: trio.codecs[0].Ack(count=5))
    with pytest.raises(differential.Disagreement):
        trio.compare(b"\x05\x06")


def sensor() -> CompiledSchema:
    """A small protocol of somebody else: an enum, a float, a switch."""
    return compile_schema(
        "Reading"
        / c.Struct(
            "kind" / c.Enum(c.Int8ub, celsius=1, volts=7),
            "value" / c.Switch(c.this.kind, {"celsius": c.Float32b, "volts": c.Int16ul}, default=c.Error),
            c.Terminated,
        ),
        name="reading",
    )


def test_any_declaration_gets_a_codec() -> None:
    """`compile_schema` gives classes and functions that do what construct does."""
    compiled = sensor()
    message = compiled.message_class(kind=7, value=230)
    assert compiled.encode(message) == b"\x07\xe6\x00"
    assert compiled.decode(b"\x07\xe6\x00") == message
    assert compiled.decode(b"\x01\x41\xac\x00\x00").value == 21.5
    assert next(compiled.scan(bytearray(b"\x07\xe6"))) == 3


def test_what_a_declaration_refuses_is_refused() -> None:
    """An unknown number, a frame that ends too soon, and bytes behind it."""
    compiled = sensor()
    for data in (b"\x02\x00\x00", b"\x07\xe6", b"\x07\xe6\x00\x00"):
        with pytest.raises(DecodeError):
            compiled.check(data)


def test_code_and_table_can_be_taken_away() -> None:
    """The Python, the C and the table of a compiled declaration name its fields and functions."""
    compiled = sensor()
    assert "def decode_reading(data: bytes) -> Reading:" in compiled.python_source
    assert "py_decode_reading" in compiled.c_source("_reading")
    assert "| kind | 1 | u8 | 1 celsius, 7 volts |" in compiled.table()


def test_a_frame_needs_a_name_that_code_can_have() -> None:
    """The name becomes part of functions, and a declaration that is no Struct is refused with its path."""
    with pytest.raises(ValueError, match="identifier"):
        compile_schema("X" / c.Struct("a" / c.Int8ub), name="no name")
    with pytest.raises(UnsupportedConstruct, match="VarInt"):
        compile_schema("X" / c.Struct("a" / c.VarInt))
