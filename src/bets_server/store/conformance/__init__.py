"""The conformance suite of stores: what `BetStore` promises, as tests.

A store's own tests subclass it and say where a fresh store may live::

    class TestCarrier(StoreConformance):
        def new_store_url(self, folder: Path) -> str:
            return f"carrier:///{folder}/bets"

The store is reached through `open_store` alone, so its scheme is registered like for any user. Each test opens it,
closes it and opens it again. One of them plays random histories, crashes included, and compares with a model that is a
few lists: `BETS_STATE_MACHINE_RUNS` in the environment says how many, for those who have the time.

Rules: nothing is known of a store but its contract. What a store does when its process is killed or its disk fills up
depends on its means, and is for its own tests to show.
"""

from __future__ import annotations

from bets_server.store.conformance.drawing import DrawingTests
from bets_server.store.conformance.histories import HistoryTests
from bets_server.store.conformance.opening import OpeningTests
from bets_server.store.conformance.operating import AuditTests, ClosingTests, VoidingTests
from bets_server.store.conformance.racing import RacingTests
from bets_server.store.conformance.samples import (
    WINNING,
    NoPickError,
    batch_of,
    crc32_of,
    documents,
    no_pick,
    opened,
    part,
    rows_of,
    sample_batch,
    sample_bet,
    upload_id,
    winning,
)
from bets_server.store.conformance.storing import StoringTests
from bets_server.store.conformance.uploads import UploadTests


class StoreConformance(
    StoringTests,
    UploadTests,
    DrawingTests,
    ClosingTests,
    VoidingTests,
    AuditTests,
    OpeningTests,
    RacingTests,
    HistoryTests,
):
    """The whole suite; subclass it and say in `new_store_url` where a store may live."""


__all__ = [
    "WINNING",
    "NoPickError",
    "StoreConformance",
    "batch_of",
    "crc32_of",
    "documents",
    "no_pick",
    "opened",
    "part",
    "rows_of",
    "sample_batch",
    "sample_bet",
    "upload_id",
    "winning",
]
