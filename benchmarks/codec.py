"""The codec against its peers: `python -m benchmarks.codec`.

Real bets where they are at hand, else made-up ones of the same shape, in batches as the client makes them. Writes a
table and a plot into benchmarks/results/ and the plot into docs/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec

from benchmarks import codec_peers as peers
from benchmarks.data import bets_for_benchmarks
from benchmarks.measure import Contender, Measurement, machine, measure, versions
from benchmarks.peers.messages import protobuf_class
from benchmarks.report import Row, markdown_table, write_bars
from bets_protocol import Bet, BetBatch, batches
from bets_protocol.codec.backend import native_module
from bets_protocol.generated import codec as pure
from bets_protocol.schema import BET_BATCH

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
SLOW_BATCHES = 12
"""Batches for construct, which takes a hundred times as long as the others."""


def contenders(work: Sequence[BetBatch]) -> dict[str, dict[str, Contender]]:
    """For each kind of work, every contender by its name."""
    frames = [pure.encode_bet_batch(batch) for batch in work]
    count = sum(len(batch.bets) for batch in work)
    few, few_frames = work[:SLOW_BATCHES], frames[:SLOW_BATCHES]
    few_count = sum(len(batch.bets) for batch in few)
    native: Any = native_module()

    plain_msgspec = [[peers.MsgspecBet(*_values(bet)) for bet in batch.bets] for batch in work]
    checked_msgspec = [[peers.CheckedMsgspecBet(*_values(bet)) for bet in batch.bets] for batch in work]
    encoder = msgspec.msgpack.Encoder()
    packed = [encoder.encode(batch) for batch in plain_msgspec]
    plain_decoder = msgspec.msgpack.Decoder(list[peers.MsgspecBet])
    checked_decoder = msgspec.msgpack.Decoder(list[peers.CheckedMsgspecBet])

    proto_class = protobuf_class()
    proto_frames = [_protobuf(proto_class, batch).SerializeToString() for batch in work]
    compiled = peers.compiled_construct()

    decode = {
        "pure Python": _each(pure.decode_bet_batch, frames, count, "frozen objects, every rule"),
        "protobuf, fields read": _each(
            lambda data: _read(proto_class.FromString(data)), proto_frames, count, "plain frozen objects, no rules"
        ),
        "protobuf, checked": _each(
            lambda data: _read_checked(proto_class.FromString(data)), proto_frames, count, "our objects, every rule"
        ),
        "msgspec": _each(plain_decoder.decode, packed, count, "frozen objects, no rules"),
        "msgspec, constraints": _each(checked_decoder.decode, packed, count, "frozen objects, its constraints"),
        "struct by hand": _each(peers.struct_decode, frames, count, "frozen objects, every rule"),
        "construct": _each(peers.construct_decode, few_frames, few_count, "our objects, every rule"),
        "construct compile()": _each(
            lambda data: peers.construct_decode(data, compiled), few_frames, few_count, "our objects, layout only"
        ),
        "construct compile(), containers": _each(
            compiled.parse, few_frames, few_count, "construct's containers, layout only"
        ),
    }
    encode = {
        "pure Python": _each(pure.encode_bet_batch, work, count, "every rule"),
        "protobuf": _each(
            lambda batch: _protobuf(proto_class, batch).SerializeToString(), work, count, "build and serialize"
        ),
        "msgspec": _each(encoder.encode, plain_msgspec, count, "no rules"),
        "msgspec, constraints": _each(encoder.encode, checked_msgspec, count, "constraints are not checked"),
        "struct by hand": _each(peers.struct_encode, work, count, "no rules"),
        "construct": _each(lambda batch: BET_BATCH.build(peers.construct_prepare(batch)), few, few_count, "every rule"),
        "construct compile()": _each(
            lambda batch: compiled.build(peers.construct_prepare(batch)), few, few_count, "layout only"
        ),
    }
    check = {"pure Python": _each(pure.check_bet_batch, frames, count, "every rule, no objects")}
    if native is not None:
        decode = {"native": _each(native.decode_bet_batch, frames, count, "frozen objects, every rule"), **decode}
        encode = {"native": _each(native.encode_bet_batch, work, count, "every rule"), **encode}
        check = {"native": _each(native.check_bet_batch, frames, count, "every rule, no objects"), **check}
    drip = {}
    # 255 bets with short names, cut beforehand: the cutting is the network's work.
    small = [attrs.evolve(bet, first_name="Ana", last_name="Paz") for batch in work for bet in batch.bets][:255]
    full = pure.encode_bet_batch(BetBatch(bets=small))
    bytewise = [full[at : at + 1] for at in range(len(full))]
    for name, module in (("native", native), ("pure Python", pure)):
        if module is not None:
            drip[f"{name}, whole"] = Contender(partial(_feed, module, [full]), 1, f"{len(full)} bytes in one piece")
            drip[f"{name}, byte by byte"] = Contender(partial(_feed, module, bytewise), 1, "one byte at a time")
    return {"decode": decode, "encode": encode, "check": check, "scan": drip}


def _values(bet: Bet) -> tuple[Any, ...]:
    return tuple(getattr(bet, name) for name in peers.FIELDS)


def _each(call: Any, inputs: Sequence[Any], units: int, what: str) -> Contender:
    def run() -> None:
        for value in inputs:
            call(value)

    return Contender(run, units, what)


def _read(message: Any) -> list[peers.PlainBet]:
    return [
        peers.PlainBet(b.agency, b.first_name, b.last_name, b.document, b.birthdate, b.number) for b in message.bets
    ]


def _read_checked(message: Any) -> list[Bet]:
    return [
        Bet(
            agency=b.agency,
            first_name=b.first_name,
            last_name=b.last_name,
            document=b.document,
            birthdate=b.birthdate,
            number=b.number,
        )
        for b in message.bets
    ]


def _protobuf(proto_class: Any, batch: BetBatch) -> Any:
    message = proto_class()
    add = message.bets.add
    for bet in batch.bets:
        add(
            agency=bet.agency,
            first_name=bet.first_name,
            last_name=bet.last_name,
            document=bet.document,
            birthdate=bet.birthdate,
            number=bet.number,
        )
    return message


def _feed(module: Any, pieces: Sequence[bytes]) -> None:
    """What a connection does with a frame that comes in pieces, and with the whole of it in the end."""
    buffer = bytearray()
    scan = module.scan_bet_batch(buffer)
    needed = 0
    for piece in pieces:
        buffer += piece
        if len(buffer) >= needed:
            needed = next(scan, 0)
    module.decode_bet_batch(bytes(buffer))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--bets", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="one round with few bets; writes no results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.bets = 2, 2_000
    bets, source = bets_for_benchmarks(options.bets)
    work = list(batches(bets))
    sections = contenders(work)
    measured = {kind: measure(group, rounds=options.rounds) for kind, group in sections.items()}
    rows = {
        kind: [Row(name, sections[kind][name].what, found) for name, found in group.items()]
        for kind, group in measured.items()
    }
    text = _page(rows, measured, f"{len(bets)} {source} in {len(work)} batches, {options.rounds} interleaved rounds")
    print(text)
    if options.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "codec.md").write_text(text, encoding="utf-8")
    raw = {kind: {name: [m.low, m.median, m.high] for name, m in group.items()} for kind, group in measured.items()}
    (RESULTS / "codec.json").write_text(json.dumps({"machine": machine(), "us_per_bet": raw}, indent=1) + "\n")
    for path in (RESULTS / "codec.png", DOCS / "codec.png"):
        write_bars(path, {kind: rows[kind] for kind in ("decode", "encode", "check")}, "microseconds a bet")


def _page(rows: dict[str, list[Row]], measured: dict[str, dict[str, Measurement]], setting: str) -> str:
    parts = [
        "# The codec and its peers\n",
        f"{machine()}.\n{versions('construct', 'msgspec', 'protobuf', 'attrs')}.\n{setting}.\n",
    ]
    for kind, base in (("decode", "msgspec"), ("encode", "msgspec"), ("check", "pure Python")):
        reference = measured["decode"]["msgspec"] if kind == "check" else measured[kind][base]
        parts.append(f"## {kind}, microseconds a bet\n\n" + markdown_table(rows[kind], reference, "msgspec's time"))
    parts.append(
        "## one frame in pieces, microseconds a frame\n\n"
        + markdown_table(rows["scan"], next(iter(measured["scan"].values())), "the first row's time")
    )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
