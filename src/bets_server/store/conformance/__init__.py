"""The conformance suite of stores: the contract of `BetStore` as tests.

A store's own tests subclass it and give the URL of a new store::

    class TestCarrier(StoreConformance):
        def new_store_url(self, folder: Path) -> str:
            return f"carrier:///{folder}/bets"

The suite uses the store through `open_store` only, so register its scheme as for any user. One test runs random
histories with crashes, and compares the store with a model; `BETS_STATE_MACHINE_RUNS` in the environment says how many.

The suite uses only the contract. How a store behaves when its process is killed or its disk is full depends on the
store, so its own tests must show that. `samples` has bets and calls for them.
"""

from __future__ import annotations

from bets_server.store.conformance.drawing import DrawingTests
from bets_server.store.conformance.histories import HistoryTests
from bets_server.store.conformance.operating import AuditTests, ClosingTests, VoidingTests
from bets_server.store.conformance.racing import RacingTests
from bets_server.store.conformance.storing import OpeningTests, StoringTests
from bets_server.store.conformance.uploads import UploadTests

__all__ = ["StoreConformance"]


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
    """The whole suite. Subclass it and override `new_store_url`."""
