"""Writes what this project generates: its modules, its C, its protocol page. Nothing else of the compiler names a bet.

Three modules of Python, since the message classes need the layouts and the checks, and the codec needs the message
classes; and one of C, with the frames of the hot path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from bets_protocol.compiler.c.module import emit_c_module, with_headers
from bets_protocol.compiler.c.runs import RunsOf
from bets_protocol.compiler.docs import tables, turns_page
from bets_protocol.compiler.modules import constants_in, emit_layouts, import_of, import_of_layouts, read_frames
from bets_protocol.compiler.python.codec import emit_codec, emit_values
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
    nodes = read_frames(frames)
    body = emit_layouts(nodes)
    table = "".join(
        f"    Frame({frame.name!r}, {frame.name.upper()}, {frame.sender!r}, {frame.revisions!r}, {frame.title!r}),\n"
        for frame in frames
    )
    body += f"\nFRAMES: Final[tuple[Frame, ...]] = (\n{table})\n"
    return "".join(
        [
            _HEADER.format(title="The layouts of every frame, as data."),
            "from typing import Final\n\n",
            import_of_layouts(body),
            "\n",
            body,
        ]
    )


def emit_values_module(frames: Iterable[FrameSchema] = FRAMES) -> str:
    """The source of `generated.values`: whether the fields of a message hold what its layout allows."""
    body = emit_values(read_frames(frames))
    return "".join(
        [
            _HEADER.format(title="Whether the fields of a message hold what its layout allows."),
            "from collections.abc import Callable, Mapping\n",
            "from typing import Any, Final\n\n",
            import_of("bets_protocol.generated.layouts", constants_in(body), body),
            import_of("bets_protocol.generated.support", RUNTIME_NAMES, body),
            "\n\n",
            body,
        ]
    )


def emit_codec_module(frames: Iterable[FrameSchema] = FRAMES) -> str:
    """The source of `generated.codec`: check, decode, encode and scan for every frame."""
    nodes = read_frames(frames)
    body = emit_codec(nodes)
    return "".join(
        [
            _HEADER.format(title="The codec of every frame in plain Python."),
            "from collections.abc import Generator\n",
            "from typing import Any, Final\n\n",
            import_of("bets_protocol.errors", ("DecodeError", "FrameTooLarge"), body),
            "from bets_protocol.generated import layouts\n",
            import_of("bets_protocol.generated.layouts", constants_in(body), body),
            import_of("bets_protocol.generated.support", RUNTIME_NAMES, body),
            import_of("bets_protocol.messages", sorted(record.name for record in classes(nodes.values())), body),
            f'\nNATIVE_DIGEST: Final = "{native_digest()}"\n',
            '"""Names the layouts and the emitter that the native codec must have been made from."""\n',
            "\n\n",
            body,
        ]
    )


def emit_native_module() -> str:
    """The source of `_native.c`: the functions of `generated.codec` for the frames of the hot path."""
    return _native_source(native_digest())


def native_digest() -> str:
    """What tells one native codec from another: a digest of its source and of the headers that it includes."""
    return hashlib.sha256(with_headers(_native_source("")).encode()).hexdigest()[:16]


def _native_source(digest: str) -> str:
    nodes = read_frames(frame for frame in FRAMES if frame.name in NATIVE_FRAMES)
    return emit_c_module(
        "bets_protocol.generated._native",
        nodes,
        runs=[RunsOf(name="bets", frame=nodes["bet_frame"], owner="agency", key="number", value="document")],
        digest=digest,
        heading="The hot path in C. Generated from bets_protocol.schema by `nox -s generate`: do not edit.",
    )


def fill_protocol_page(page: str) -> str:
    """docs/protocol.md with the tables of all frames and of the order of messages."""
    nodes = read_frames(FRAMES)
    frames = [ir.Frame(frame.name, nodes[frame.name], frame.sender, frame.revisions, frame.title) for frame in FRAMES]
    turns = {
        "turns": turns_page.turns_table(),
        "replies": turns_page.replies_table(),
        "codes": turns_page.codes_table(),
        "phases": turns_page.diagram(),
    }
    return tables.fill_tables(page, tables.frame_tables(frames) | turns)
