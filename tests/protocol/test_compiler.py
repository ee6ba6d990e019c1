"""What the compiler makes of a declaration does what construct does with it.

Most of it runs on made-up declarations, which share nothing with bets: `tests/protocol/declarations.py`.
"""

from __future__ import annotations

import ast
import enum
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import construct as c
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bets_protocol import DecodeError, FrameTooLarge, InvalidMessage, InvalidValue, LocalProtocolError
from bets_protocol.compiler import UnsupportedConstruct
from bets_protocol.compiler.bets import emit_codec_module, emit_layouts_module, emit_values_module, native_digest
from bets_protocol.compiler.c import module as c_module
from bets_protocol.compiler.modules import emit_codec, emit_values
from bets_protocol.compiler.python.writing import emit_put
from bets_protocol.generated.codec import NATIVE_DIGEST
from bets_protocol.layout import nodes as ir
from bets_protocol.layout.diagnose import explain_bytes
from bets_protocol.layout.rules import CalendarDate, Characters, IntRange, digits, printable_name
from bets_protocol.schema import Bounded, FrameSchema, Line, Ruled, StrictEnum
from bets_protocol.testing.strategies import values
from tests.effort import examples
from tests.protocol.declarations import U8, U16, Compiled, declarations, made
from tests.strategies import damaged

PROJECT = Path(__file__).resolve().parent.parent.parent


def reference(declaration: Any, data: bytes) -> Any:
    """What construct makes of `data` as a whole frame; None where it refuses it."""
    stream = io.BytesIO(data)
    try:
        value = declaration.parse_stream(stream)
    except c.ConstructError:
        return None
    return None if stream.read() else value


def refusal(compiled: Compiled, data: bytes) -> DecodeError | InvalidValue | None:
    """How the emitted code refuses `data`, which `check` and `decode` must do alike; None where they do not."""
    errors: list[DecodeError | InvalidValue | None] = []
    for read in (compiled.check, compiled.decode):
        try:
            read(data)
            errors.append(None)
        except (DecodeError, InvalidValue) as error:
            errors.append(error)
    checked, decoded = errors
    assert (type(checked), str(checked)) == (type(decoded), str(decoded))
    assert (checked is None) == (explain_bytes(compiled.layout, data) is None)
    return decoded


def scanned(compiled: Compiled, data: bytes) -> int | DecodeError | None:
    """What the scanner says while `data` come byte by byte: the size of the frame, None for "more", or the error."""
    buffer = bytearray()
    scan = compiled.scan(buffer)
    needed = 0
    for index in range(len(data) + 1):
        if len(buffer) >= needed:
            try:
                needed = next(scan)
            except StopIteration as end:
                size: int = end.value
                return size
            except DecodeError as error:
                return error
            assert needed > len(buffer)
        buffer += data[index : index + 1]
    return None


def assert_agree(compiled: Compiled, data: bytes) -> None:
    """Emitted code, explanation, scanner and construct say the same about `data`."""
    refused = refusal(compiled, data)
    expected = reference(compiled.declaration, data)
    found = scanned(compiled, data)
    # A line may end with the stream, which no scanner sees.
    ends_with_line = "Line(" in repr(compiled.layout)
    assert (refused is None) == (expected is not None)
    if refused is None:
        message = compiled.decode(data)
        # As text, since no NaN equals another; of those there are many, and Python knows one.
        assert repr(compiled.plain(expected)) == repr(compiled.plain(message))
        if "nan" not in repr(compiled.plain(message)):
            assert data == compiled.encode(message)
    if isinstance(found, DecodeError):
        assert isinstance(refused, DecodeError)
    elif not isinstance(refused, DecodeError) and not ends_with_line:
        assert found == len(data)


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(declarations(), st.data())
def test_any_declaration_becomes_code_that_does_what_construct_does(declaration: Any, data: st.DataObject) -> None:
    """Good messages, their bytes, and bytes that are almost right: the same verdict and the same values."""
    try:
        compiled = Compiled(declaration)
    except UnsupportedConstruct:  # a rule that no text of that length keeps, a length that nothing fits
        return
    message = data.draw(values(compiled.layout, compiled.classes))
    encoded = compiled.encode(message)
    assert message == compiled.decode(encoded)
    assert compiled.declaration.build(compiled.plain(message)) == encoded
    assert_agree(compiled, encoded)
    for _ in range(2):
        assert_agree(compiled, data.draw(damaged(st.just(encoded))))


def test_signed_numbers_keep_a_rule_that_begins_at_one() -> None:
    """A lower bound of 1 is not "any number but 0" where numbers may be negative."""
    compiled = Compiled(made("x" / Ruled(c.Int8sb, IntRange(1, 127))))
    assert compiled.decode(b"\x01").x == 1
    for data in (b"\x00", b"\xff", b"\x80"):
        assert isinstance(refusal(compiled, data), InvalidValue)


def test_a_rule_on_a_length_is_kept_when_reading() -> None:
    """A region that is shorter than its length may say is a framing error, though its fields fit."""
    declaration = made("x" / c.Prefixed(Ruled(U8, IntRange(3, 9)), "In" / c.Struct("t" / c.PascalString(U8, "utf8"))))
    compiled = Compiled(declaration)
    assert compiled.decode(b"\x03\x02ab").x.t == "ab"
    error = refusal(compiled, b"\x02\x01a")
    assert isinstance(error, DecodeError)
    assert "expected a length from 3 to 9, not 2" in str(error)
    with pytest.raises(InvalidMessage, match="x: expected what takes 3 to 9 bytes, found '2 bytes'"):
        compiled.classes["Made"](x=compiled.classes["In"](t="a"))


def test_the_size_of_a_region_counts_all_that_is_in_it() -> None:
    """Constants, the case of a switch, arrays and lines, each with its lengths."""
    inner = "In" / c.Struct(
        "tag" / c.Const(b"T"),
        "kind" / U8,
        "body" / c.Switch(c.this.kind, {1: U8, 2: c.PascalString(U16, "utf8")}, default=c.Error),
        "many" / c.PrefixedArray(U8, Bounded(9, c.Prefixed(U8, "Part" / c.Struct("x" / U16, c.Terminated)))),
        "line" / Line(9, first=(0x61, 0x7A)),
        c.Terminated,
    )
    compiled = Compiled(made("x" / c.Prefixed(Ruled(U8, IntRange(14, 16)), inner)))
    make, part = compiled.classes["In"], compiled.classes["Part"](x=7)
    good = make(kind=2, body="ñ", many=(part, part), line=b"a\n")
    data = b"\x0f" + b"T\x02" + b"\x00\x02\xc3\xb1" + b"\x02\x02\x00\x07\x02\x00\x07" + b"a\n"
    assert data == compiled.encode(compiled.classes["Made"](x=good))
    for bad, size in (
        (make(kind=1, body=7, many=(part,), line=b"ab"), 9),
        (make(kind=2, body="ñandu", many=(part, part), line=b"a\n"), 19),
    ):
        with pytest.raises(InvalidMessage, match=f"x: expected what takes 14 to 16 bytes, found '{size} bytes'"):
            compiled.classes["Made"](x=bad)


class Size(enum.IntEnum):
    """Somebody's constants."""

    TWO = 2
    FIVE = 5


def test_members_of_an_int_enum_declare_numbers() -> None:
    """As constants, sizes, counts, rules, bounds, cases, and as values."""
    compiled = Compiled(
        made(
            "tag" / c.Const(Size.FIVE, U8),
            "raw" / c.Bytes(Size.TWO),
            "wide" / c.BytesInteger(Size.FIVE),
            "items" / c.Array(Size.TWO, Ruled(U8, IntRange(Size.TWO, Size.FIVE))),
            "kind" / U8,
            "value" / c.Switch(c.this.kind, {Size.TWO: U8, Size.FIVE: U16}, default=c.Error),
            "line" / Line(Size.FIVE, first=(Size.TWO, 0x7A)),
        )
    )
    message = compiled.classes["Made"](
        raw=b"ab", wide=Size.FIVE, items=(Size.TWO, Size.FIVE), kind=Size.FIVE, value=Size.TWO, line=b"z"
    )
    assert compiled.encode(message) == b"\5ab" + b"\0\0\0\0\5" + b"\2\5" + b"\5\0\2" + b"z"
    assert_agree(compiled, compiled.encode(message))


def test_a_text_may_have_a_least_length_without_a_rule() -> None:
    """The rule of its length says it."""
    make = Compiled(made("x" / c.PascalString(Ruled(U8, IntRange(2, 4)), "utf8"))).classes["Made"]
    assert make(x="ñ").x == "ñ"
    with pytest.raises(InvalidMessage, match="x: expected at least 2 bytes of UTF-8, found 'a'"):
        make(x="a")


def test_only_layouts_of_frames_can_be_emitted() -> None:
    """What has no class, or no value, is a bug of whoever asks for its code."""
    with pytest.raises(TypeError, match="a frame must be a record, not Int"):
        emit_codec({"frame": ir.Int(1)})
    constants = ir.Record("Made", (ir.Field("x", ir.Array(2, ir.Const(1, ir.Int(1)))),))
    with pytest.raises(TypeError, match="has no value"):
        emit_codec({"frame": constants})
    switches = ir.Record("Made", (ir.Field("x", ir.Array(2, ir.Switch("y", ((1, ir.Int(1)),)))),))
    with pytest.raises(TypeError, match="a Switch can only be the field of a record"):
        emit_values({"frame": switches})
    with pytest.raises(TypeError, match="a Switch can only be the field of a record"):
        emit_put(switches, {switches: "_put_Made"})


def test_digits_that_may_be_none() -> None:
    """No digits are digits only, where the text may be empty."""
    compiled = Compiled(made("x" / Ruled(c.PascalString(U8, "ascii"), digits())))
    for data in (b"\x00", b"\x011"):
        assert data == compiled.encode(compiled.decode(data))
    assert isinstance(refusal(compiled, b"\x01a"), InvalidValue)


def test_items_keep_their_rules_when_a_message_is_made() -> None:
    """Numbers, members, lengths and counts inside of arrays, and arrays inside of arrays."""
    compiled = Compiled(
        made(
            "numbers" / c.PrefixedArray(U8, Ruled(U8, IntRange(1, 9))),
            "members" / c.Array(2, StrictEnum(U8, a=1)),
            "blobs" / c.Array(1, c.Bytes(2)),
            "grid" / c.Array(2, c.Array(3, U8)),
            "texts" / c.PrefixedArray(U8, c.PascalString(U8, "ascii")),
        )
    )
    good: dict[str, Any] = {
        "numbers": (1, 9),
        "members": (1, 1),
        "blobs": (b"ab",),
        "grid": ((1, 2, 3), (4, 5, 6)),
        "texts": ("a", ""),
    }
    make = compiled.classes["Made"]
    assert compiled.encode(make(**good)) == bytes([2, 1, 9, 1, 1]) + b"ab" + bytes(range(1, 7)) + b"\x02\x01a\x00"
    for path, value in {
        "numbers[1]": (1, 10),
        "members[0]": (2, 1),
        "blobs[0]": (b"abc",),
        "grid[1]": ((1, 2, 3), (4, 5)),
        "grid[0][2]": ((1, 2, 256), (4, 5, 6)),
        "texts[0]": ("ñ", ""),
        "grid": ([1, 2, 3], [4, 5, 6]),
    }.items():
        field = path.partition("[")[0]
        bad = list(value) if path == "grid" else value
        with pytest.raises(InvalidMessage) as raised:
            make(**good | {field: bad})
        assert path == raised.value.path


def test_a_record_without_information() -> None:
    """Constants alone make a message without fields."""
    compiled = Compiled(made("type" / c.Const(9, U8), c.Const(b"ok")))
    message = compiled.decode(b"\x09ok")
    assert message == compiled.classes["Made"]()
    assert compiled.encode(message) == b"\x09ok"
    assert isinstance(refusal(compiled, b"\x09no"), DecodeError)
    error = scanned(compiled, b"\x08")
    assert isinstance(error, DecodeError)
    assert str(error) == "type at byte 0: expected 9, not 8"


def test_a_float_that_does_not_fit_makes_no_message() -> None:
    """Half and single precision have their limits; whole numbers are taken as floats."""
    make = Compiled(made("half" / c.Float16b, "double" / c.Float64l)).classes["Made"]
    make(half=65504, double=1e300)
    with pytest.raises(InvalidMessage, match="half: expected a number that fits 2 bytes, found 65536"):
        make(half=65536, double=0)
    with pytest.raises(InvalidMessage, match="double: expected a number, found '1'"):
        make(half=1, double="1")


def test_records_of_one_class_that_differ_in_constants() -> None:
    """Each is written with its own constants, also where they stand in one frame."""
    compiled = Compiled(
        made(
            "one" / ("Part" / c.Struct("tag" / c.Const(1, U8), "x" / U8)),
            "two" / ("Part" / c.Struct("tag" / c.Const(2, U8), "x" / U8)),
        )
    )
    message = compiled.decode(bytes([1, 7, 2, 8]))
    assert type(message.one) is type(message.two)
    assert compiled.encode(message) == bytes([1, 7, 2, 8])


def test_bounds_inside_of_bounds_are_enforced_while_scanning() -> None:
    """Each as soon as a length passes it, whether it is the inner or the outer one."""
    text = c.PascalString(U8, "ascii")
    compiled = Compiled(Bounded(8, made("a" / Bounded(4, "In" / c.Struct("t" / text, "u" / text)), "b" / text)))
    assert scanned(compiled, b"\x01a\x01b\x03ccc") == 8
    for data, path, offset in ((b"\x04", "a.t", 4), (b"\x01a\x02", "a.u", 4), (b"\x01a\x01b\x04", "b", 8)):
        error = scanned(compiled, data)
        assert isinstance(error, FrameTooLarge)
        assert (path, offset) == (error.path, error.offset)
        explained = refusal(compiled, data + bytes(9))
        assert isinstance(explained, FrameTooLarge)
        assert (path, offset) == (explained.path, explained.offset)
    with pytest.raises(LocalProtocolError, match="at most 4 bytes, not 5"):
        compiled.encode(compiled.classes["Made"](a=compiled.classes["In"](t="aa", u="b"), b=""))


def test_the_narrower_of_two_bounds_counts() -> None:
    """Also where it is the outer one."""
    text = c.PascalString(U8, "ascii")
    compiled = Compiled(Bounded(4, made("a" / Bounded(9, "In" / c.Struct("t" / text, "u" / text)))))
    assert scanned(compiled, b"\x01a\x01b") == 4
    for data, path in ((b"\x04", "a.t"), (b"\x01a\x02", "a.u")):
        error, explained = scanned(compiled, data), refusal(compiled, data + bytes(9))
        assert isinstance(error, FrameTooLarge)
        assert isinstance(explained, FrameTooLarge)
        assert (path, 4) == (error.path, error.offset) == (explained.path, explained.offset)


def test_a_bounded_frame_of_fixed_size_is_waited_for() -> None:
    """There is nothing to look at in it, and still its bytes must be there."""
    compiled = Compiled(Bounded(9, made("x" / U16, "y" / Bounded(3, "In" / c.Struct("z" / U8)))))
    assert scanned(compiled, b"\x00\x01") is None
    assert scanned(compiled, b"\x00\x01\x02") == 3


def test_a_switch_reads_and_writes_its_case() -> None:
    """By number; a number without a case is refused by the scanner, the reader and the class."""
    compiled = Compiled(
        made(
            "kind" / U8,
            "body" / c.Switch(c.this.kind, {1: U8, 2: c.Struct("x" / U16, "y" / c.Bytes(1))}, default=c.Error),
            "end" / U8,
        )
    )
    made_class, body_class = compiled.classes["Made"], compiled.classes["Body2"]
    for data, message in (
        (bytes([1, 7, 9]), made_class(kind=1, body=7, end=9)),
        (bytes([2, 0, 7, 8, 9]), made_class(kind=2, body=body_class(x=7, y=b"\x08"), end=9)),
    ):
        assert message == compiled.decode(data)
        assert data == compiled.encode(message)
        assert scanned(compiled, data) == len(data)
    error = scanned(compiled, bytes([3]))
    assert isinstance(error, DecodeError)
    assert str(error) == "body at byte 1: expected kind to be one of 1, 2, not 3"
    for fields, reason in (
        ({"kind": 1, "body": body_class(x=1, y=b"1")}, "body: expected a number from 0 to 255"),
        ({"kind": 2, "body": 7}, "body: expected a Body2, found 7"),
        ({"kind": 3, "body": 7}, "body: expected kind to be one of 1, 2, found 3"),
    ):
        with pytest.raises(InvalidMessage, match=reason):
            made_class(**fields, end=0)


def test_a_message_of_another_schema_is_refused() -> None:
    """Encoding asks for the very class."""
    one, other = (Compiled(made("x" / U8)) for _ in range(2))
    with pytest.raises(InvalidMessage):
        one.encode(other.decode(b"\x01"))


def test_names_are_never_taken_twice() -> None:
    """Fields that are called like what emitted code calls its own, or like each other with a number behind."""
    names = ("data", "end", "position", "position_2", "made", "value", "text", "item", "item_2", "message", "classes")
    inner = c.Struct(*(name / c.PascalString(U8, "utf8") for name in names))
    compiled = Compiled(made(*(name / c.Prefixed(U8, c.Array(1, inner)) for name in names[:2]), "x" / U8, "x_2" / U8))
    part = b"".join(b"\x01" + name[:1].encode() for name in names)
    data = bytes([len(part)]) + part + bytes([len(part)]) + part + b"\x05\x06"
    message = compiled.decode(data)
    assert (message.x, message.x_2) == (5, 6)
    assert (message.end[0].position, message.end[0].position_2, message.end[0].value) == ("p", "p", "v")
    assert data == compiled.encode(message)


def test_a_line_is_never_empty() -> None:
    """Not even where it may begin with any byte; its LF is no byte of it."""
    compiled = Compiled(made("line" / Line(3, first=(0, 255)), c.Terminated))
    for data in (b"", b"\n", b"\n\n", b"abcd", b"abcd\n", b"a\nb"):
        assert isinstance(refusal(compiled, data), DecodeError)
        assert reference(compiled.declaration, data) is None
    for data in (b"\x00", b"\xff\n", b"abc\n"):
        assert data == compiled.encode(compiled.decode(data))
    assert isinstance(scanned(compiled, b"\n"), DecodeError)
    assert isinstance(scanned(compiled, b"abcd"), FrameTooLarge)
    assert scanned(compiled, b"abc\n") == 4


def test_characters_of_any_set_can_be_a_rule() -> None:
    """Sets for which there is no short cut are asked character by character."""
    hexadecimal = Characters(label="hexadecimal digits", allowed=((0x30, 0x39), (0x61, 0x66)))
    compiled = Compiled(made("x" / Ruled(c.FixedSized(2, c.GreedyString("ascii")), hexadecimal)))
    assert compiled.decode(b"0f").x == "0f"
    assert isinstance(refusal(compiled, b"0g"), InvalidValue)
    assert isinstance(refusal(compiled, b"0\xe9"), InvalidValue)


def test_modules_import_what_they_use_and_nothing_else() -> None:
    """However little that is, or however much: a module of a made-up frame is good Python without unused imports."""
    little = made("x" / U8)
    much = made(
        "kind" / U8,
        "real" / c.Float32b,
        "day" / Ruled(c.FixedSized(10, c.GreedyString("ascii")), CalendarDate()),
        "name" / Ruled(c.PascalString(U8, "utf8"), printable_name()),
        "raw" / c.Prefixed(U8, c.GreedyBytes),
        "body" / c.Switch(c.this.kind, {1: U8, 2: c.Struct("y" / StrictEnum(U8, a=1))}, default=c.Error),
        "many" / c.PrefixedArray(U8, Bounded(9, c.PascalString(U8, "utf8"))),
        "region" / c.Prefixed(Ruled(U8, IntRange(3, 9)), c.Struct("z" / c.PascalString(U8, "ascii"), c.Terminated)),
        "line" / Line(9, first=(0x20, 0x7E)),
    )
    for declaration in (little, much):
        frame = FrameSchema(name="frame", layout=declaration, sender="client", revisions=(9,), title="made up")
        for emit in (emit_layouts_module, emit_values_module, emit_codec_module):
            source = emit([frame])
            tree = ast.parse(source)
            imported = [
                alias.asname or alias.name
                for node in tree.body
                if isinstance(node, ast.ImportFrom) and node.module != "__future__"
                for alias in node.names
            ]
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert [name for name in imported if name not in used] == []
            assert max(len(line) for line in source.splitlines() if "import" in line) <= 120


def test_the_compiler_names_no_bet() -> None:
    """All that it knows of this protocol is in two modules; the others would compile any other protocol."""
    package = PROJECT / "src" / "bets_protocol" / "compiler"
    ours = {package / "bets.py", package / "docs" / "turns_page.py"}
    named = {
        (str(path.relative_to(package)), word)
        for path in package.rglob("*.*")
        if path.suffix in {".py", ".h"} and path not in ours
        for word in re.findall(
            r"(?i)(?<![a-z])(?:bets?|agency|agencies|winners?|upload_\w+)(?!\w)", path.read_text("utf-8")
        )
    }
    assert named == set()


# What is committed


def test_generated_modules_are_fresh() -> None:
    """They are what the compiler would write now; the script that says so leaves them alone."""
    run = subprocess.run(
        [sys.executable, "-m", "scripts.generate", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_changed_header_makes_another_native_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest covers what the C includes, so that an extension built with an older header is not used."""
    for header in c_module.HEADERS.glob("*.h"):
        (tmp_path / header.name).write_text(header.read_text("utf-8") + "/* changed */\n", encoding="utf-8")
    digests = {NATIVE_DIGEST, native_digest()}
    monkeypatch.setattr(c_module, "HEADERS", tmp_path)
    assert len(digests) == 1
    assert native_digest() not in digests


@pytest.mark.parametrize("emit", [emit_layouts_module, emit_values_module, emit_codec_module])
def test_the_output_is_the_same_every_time(emit: Any) -> None:
    """Else nobody could tell when it is stale."""
    assert emit() == emit()
