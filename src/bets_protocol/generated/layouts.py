"""The layouts of every frame, as data.

Generated from bets_protocol.schema by `nox -s generate`: do not edit.
"""

from __future__ import annotations

from typing import Final

from bets_protocol.layout.nodes import (
    Array,
    Bounded,
    Bytes,
    Const,
    Enum,
    Field,
    Frame,
    Int,
    Line,
    Record,
    Region,
    Text,
)
from bets_protocol.layout.rules import CalendarDate, Characters, IntRange

RULE_E0E970AE: Final = Characters(label='text without control characters (C0, DEL, C1)', allowed=(), excluded=((0, 31), (127, 159)), min_bytes=1)

RULE_6DDF8F33: Final = Characters(label='ASCII digits only', allowed=((48, 57),), excluded=(), min_bytes=0)

RULE_1FFF28C8: Final = CalendarDate()

BET_RECORD: Final = Record(name='Bet', fields=(
    Field(name='agency', node=Int(size=1, rule=IntRange(low=1, high=255))),
    Field(name='first_name', node=Text(prefix=Int(size=1), rule=RULE_E0E970AE)),
    Field(name='last_name', node=Text(prefix=Int(size=1), rule=RULE_E0E970AE)),
    Field(name='document', node=Text(size=8, encoding='ascii', rule=RULE_6DDF8F33)),
    Field(name='birthdate', node=Text(size=10, encoding='ascii', rule=RULE_1FFF28C8)),
    Field(name='number', node=Int(size=2, rule=IntRange(low=0, high=9999))), ))

BET_FRAME: Final = Region(prefix=Int(size=2), sub=BET_RECORD)

UNTYPED_BATCH: Final = Bounded(max_bytes=8192, sub=Record(name='BetBatch', fields=(
        Field(name='bets', node=Array(count=Int(size=1, rule=IntRange(low=1, high=255)), item=Region(prefix=Int(size=2), sub=BET_RECORD))), )))

BET_BATCH: Final = Bounded(max_bytes=8192, sub=Record(name='BetBatch', fields=(
        Field(name='type', node=Const(value=1, sub=Int(size=1))),
        Field(name='bets', node=Array(count=Int(size=1, rule=IntRange(low=1, high=255)), item=Region(prefix=Int(size=2), sub=BET_RECORD))), )))

WINNERS_REQUEST: Final = Record(name='WinnersRequest', fields=(
    Field(name='type', node=Const(value=2, sub=Int(size=1))),
    Field(name='agency', node=Int(size=1, rule=IntRange(low=1, high=255))), ))

PROBE: Final = Record(name='Probe', fields=(
    Field(name='line', node=Line(max_bytes=1024, first=(32, 126, ))), ))

ACK: Final = Record(name='Ack', fields=(
    Field(name='count', node=Int(size=1)), ))

WINNERS: Final = Record(name='Winners', fields=(
    Field(name='documents', node=Array(count=Int(size=2), item=Text(size=8, encoding='ascii', rule=RULE_6DDF8F33))), ))

OPEN_UPLOAD: Final = Record(name='OpenUpload', fields=(
    Field(name='type', node=Const(value=3, sub=Int(size=1))),
    Field(name='version', node=Const(value=1, sub=Int(size=1))),
    Field(name='agency', node=Int(size=1, rule=IntRange(low=1, high=255))),
    Field(name='draw', node=Int(size=4)),
    Field(name='total', node=Int(size=8)),
    Field(name='upload_id', node=Bytes(size=16)), ))

UPLOAD_STATUS: Final = Record(name='UploadStatus', fields=(
    Field(name='type', node=Const(value=131, sub=Int(size=1))),
    Field(name='code', node=Enum(sub=Int(size=1), members=(('OK', 0, ), ('BAD_FRAME', 1, ), ('BAD_BET', 2, ), ('NOT_AUTHORIZED', 3, ), ('FENCED', 4, ), ('MISMATCH', 5, ), ('OVERRUN', 6, ), ('SEALED', 7, ), ('DRAW_CLOSED', 8, ), ('INCOMPLETE', 9, ), ('BUSY', 10, ), ('STORE_FULL', 11, ), ('LIMIT', 12, ), ('SHUTTING_DOWN', 13, ), ('WRONG_DRAW', 14, ), ('MODE_CONFLICT', 15, ), ('DRAWN', 16, ), ))),
    Field(name='draw', node=Int(size=4)),
    Field(name='stored', node=Int(size=8)),
    Field(name='crc32', node=Int(size=4)), ))

FRAMES: Final[tuple[Frame, ...]] = (
    Frame('bet_frame', BET_FRAME, 'client', (5,), 'one bet, bare'),
    Frame('untyped_batch', UNTYPED_BATCH, 'client', (6,), 'a batch, untyped'),
    Frame('bet_batch', BET_BATCH, 'client', (7, 8, 9), 'a batch of bets'),
    Frame('winners_request', WINNERS_REQUEST, 'client', (7, 8, 9), 'this agency has sent everything and waits for its winners'),
    Frame('probe', PROBE, 'both', (7, 8, 9), 'a line that is sent back'),
    Frame('ack', ACK, 'server', (5, 6, 7, 8), 'how many bets were stored'),
    Frame('winners', WINNERS, 'server', (7, 8, 9), 'the documents of the winners'),
    Frame('open_upload', OPEN_UPLOAD, 'client', (9,), 'binds a connection to an upload'),
    Frame('upload_status', UPLOAD_STATUS, 'server', (9,), 'how the upload stands, in front of every reply'),
)
