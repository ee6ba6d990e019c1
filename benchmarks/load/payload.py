"""What the load generator sends, encoded beforehand: one file of frames an agency, and one of their lengths.

The same batches in three forms: as frames of the wire, as protobuf messages, and as whole HTTP requests with JSON in
them. The batches are those that the existing clients make: 130 bets, or as many as fit into 8192 bytes.
"""

from __future__ import annotations

import array
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs

from benchmarks.data import read_bets
from bets_protocol import Bet, BetBatch, batches, encode

Encoder = Callable[[BetBatch], bytes]
FIELDS = ("agency", "first_name", "last_name", "document", "birthdate", "number")


@attrs.frozen
class Payload:
    """What one agency sends.

    Attributes:
        path: of the two files, without their endings ``.frames`` and ``.lengths``.
        bets: how many, in all frames.
        frames: how many.
    """

    agency: int
    path: Path
    bets: int
    frames: int


def records(batch: BetBatch) -> list[dict[str, str | int]]:
    """The bets of a batch with their fields by name."""
    return [{name: getattr(bet, name) for name in FIELDS} for bet in batch.bets]


def as_http(batch: BetBatch) -> bytes:
    """A whole request with the batch as JSON."""
    body = json.dumps({"bets": records(batch)}, ensure_ascii=False, separators=(",", ":")).encode()
    head = "POST /bets HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    return head.format(len(body)).encode() + body


def write_payload(
    path: Path, agency: int, bets: Iterable[Bet], *, encoder: Encoder = encode, batch_max: int = 130
) -> Payload:
    """Encodes the bets of one agency into files at `path`."""
    lengths = array.array("I")
    count = 0
    with path.with_name(f"{path.name}.frames").open("wb") as file:
        for batch in batches(bets, max_amount=batch_max):
            lengths.append(file.write(encoder(batch)))
            count += len(batch.bets)
    path.with_name(f"{path.name}.lengths").write_bytes(lengths.tobytes())
    return Payload(agency=agency, path=path, bets=count, frames=len(lengths))


def write_payloads(folder: Path, files: Sequence[Path], *, encoder: Encoder = encode) -> list[Payload]:
    """Encodes the files of agencies 1, 2, ... into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_payload(folder / f"agency-{agency}", agency, read_bets(file, agency), encoder=encoder)
        for agency, file in enumerate(files, 1)
    ]
