"""Writes what this project generates: its modules, its C, its protocol page. Nothing else of the compiler names a bet.

Three modules of Python, since the message classes need the layouts and the checks, and the codec needs the message
classes; and one of C, with the frames of the hot path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from bets_protocol.compiler import modules
from bets_protocol.compiler.c.module import emit_c_module, with_headers
from bets_protocol.compiler.c.runs import RunsOf
from bets_protocol.compiler.docs import tables, turns_page
from bets_protocol.compiler.python.source import RUNTIME_NAMES
from bets_protocol.compiler.shape import classes
from bets_protocol.layout import nodes as ir
from bets_protocol.schema import FRAMES, FrameSchema

NATIVE_FRAMES: Final = ("bet_frame", "untyped_batch", "bet_batch", "winners")
"""The frames of the hot path, which have a codec in C.

The others have at most 31 bytes, or 1 KB in a probe. The pure codec encodes an UploadStatus in 0.25 microseconds, a
thousandth of what the server does for the batch that it answers.
"""

_HEADER = '''"""{title}

Generated from bets_protocol.schema by `nox -s generate`: do not edit.
"""

from __future__ import annotations

'''


def emit_layouts_module(frames: Iterable[FrameSchema] = FRAMES) -> str:
    """The source of `generated.layouts`: one constant a frame, a table of them, and the rules, each once."""
    frames = tuple(frames)
    body = modules.emit_layouts(modules.read_frames(frames))
    table = "".join(
        f"    Frame({frame.name!r}, {frame.name.upper()}, {frame.sender!r}, {frame.revisions!r}, {frame.title!r}),\n"
        for frame in frames
    )
    body += f"\nFRAMES: Final[tuple[Frame, ...]] = (\n{table})\n"
    imports = "from typing import Final\n\n" + modules.import_of_layouts(body)
    return f"{_HEADER.format(title='The layouts of every frame, as data.')}{imports}\n{body}"


def emit_values_module(frames: Iterable[FrameSchema] = FRAMES) -> str:
    """The source of `generated.values`: whether the fields of a message hold what its layout allows."""
    body = modules.emit_values(modules.read_frames(frames))
    imports = (
        "from collections.abc import Callable, Mapping\nfrom typing import Any, Final\n\n"
        + modules.import_of("bets_protocol.generated.layouts", modules.constants_in(body), body)
        + modules.import_of("bets_protocol.generated.support", RUNTIME_NAMES, body)
    )
    return f"{_HEADER.format(title='Whether the fields of a message hold what its layout allows.')}{imports}\n\n{body}"


def emit_codec_module(frames: Iterable[FrameSchema] = FRAMES) -> str:
    """The source of `generated.codec`: check, decode, encode and scan for every frame."""
    nodes = modules.read_frames(frames)
    body = (
        f'NATIVE_DIGEST: Final = "{native_digest()}"\n'
        '"""Names the layouts and the emitter that the native codec must have been made from."""\n\n\n'
        + modules.emit_codec(nodes)
    )
    imports = (
        "from collections.abc import Generator\nfrom typing import Any, Final\n\n"
        + modules.import_of("bets_protocol.errors", ("DecodeError", "FrameTooLarge"), body)
        + "from bets_protocol.generated import layouts\n"
        + modules.import_of("bets_protocol.generated.layouts", modules.constants_in(body), body)
        + modules.import_of("bets_protocol.generated.support", RUNTIME_NAMES, body)
        + modules.import_of("bets_protocol.messages", sorted(record.name for record in classes(nodes.values())), body)
    )
    return f"{_HEADER.format(title='The codec of every frame in plain Python.')}{imports}\n{body}"


def native_digest() -> str:
    """What tells one native codec from another: a digest of its source and of the headers that it includes."""
    return hashlib.sha256(with_headers(emit_native_module("")).encode()).hexdigest()[:16]


def emit_native_module(digest: str | None = None) -> str:
    """The source of `_native.c`: the functions of `generated.codec` for the frames of the hot path."""
    nodes = modules.read_frames(frame for frame in FRAMES if frame.name in NATIVE_FRAMES)
    return emit_c_module(
        "bets_protocol.generated._native",
        nodes,
        runs=RunsOf(name="bets", frame=nodes["bet_frame"], owner="agency", key="number", value="document"),
        digest=native_digest() if digest is None else digest,
        heading="The hot path in C. Generated from bets_protocol.schema by `nox -s generate`: do not edit.",
    )


def fill_protocol_page(page: str) -> str:
    """docs/protocol.md with the tables of all frames and of the order of messages."""
    nodes = modules.read_frames(FRAMES)
    frames = [ir.Frame(frame.name, nodes[frame.name], frame.sender, frame.revisions, frame.title) for frame in FRAMES]
    turns = {
        "turns": turns_page.turns_table(),
        "replies": turns_page.replies_table(),
        "codes": turns_page.codes_table(),
        "phases": turns_page.diagram(),
    }
    return tables.fill_tables(page, tables.frame_tables(frames) | turns)
