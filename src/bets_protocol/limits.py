"""Every bound of the protocol, and the defaults of its clients, with unit and reason."""

from __future__ import annotations

from typing import Final

MAX_FRAME_BYTES: Final = 8192
"""Bytes of a whole batch frame, with type and count. The contract says 8 KB; enforced while reading."""

MAX_BATCH_BETS: Final = 255
"""Bets in a batch: its count is one byte."""

MAX_WINNERS: Final = 65_535
"""Documents in a Winners message: its count is two bytes."""

MAX_PROBE_BYTES: Final = 1024
"""Bytes of a probe line without its LF."""

MAX_NAME_BYTES: Final = 255
"""UTF-8 bytes of a name: its length is one byte."""

MAX_AGENCY: Final = 255
"""The largest number of an agency, which is one byte. The smallest is 1."""

MAX_DRAW_ID: Final = 0xFFFF_FFFF
"""The largest number of a draw, which is four bytes. The smallest is 0."""

MAX_LABEL_BYTES: Final = 255
"""UTF-8 bytes of an upload's label: in what its id is the hash of, the length is one byte."""

MAX_BETTING_NUMBER: Final = 9999
"""The largest number that can be bet on."""

DEFAULT_BATCH_MAX: Final = 130
"""Bets in a batch by default: with names of usual length (about 50 bytes a bet) just under 8192 bytes."""

DEFAULT_WINDOW: Final = 16
"""Batches that a client sends without waiting for their answers: more gain nothing."""

MAX_WINDOW: Final = 1024
"""The most such batches: 8 MB that the server has not answered yet."""

DEFAULT_RETRY_FOR_S: Final = 900.0
"""Seconds without progress until a client gives up."""

DEFAULT_IDLE_TIMEOUT_S: Final = 60.0
"""Seconds of silence, while an answer is due, after which a client counts a connection as lost."""
