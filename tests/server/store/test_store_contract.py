"""The contract of stores, over those that come with the server and over one that a third party brings."""

from __future__ import annotations

from pathlib import Path

from bets_server.store import register_store
from bets_server.store.conformance import StoreConformance
from tests.server.store.folder_store import open_folder

register_store("folder", open_folder)


class TestSqlite(StoreConformance):
    """The book."""

    def new_store_url(self, folder: Path) -> str:
        """A database in the folder."""
        return f"sqlite:///{folder}/bets.db"


class TestCsv(StoreConformance):
    """The legacy file."""

    def new_store_url(self, folder: Path) -> str:
        """A legacy file in the folder."""
        return f"csv:///{folder}/bets.csv"


class TestOfAThirdParty(StoreConformance):
    """A store that was written against the contract alone and registered under a scheme of its own."""

    def new_store_url(self, folder: Path) -> str:
        """A folder in the folder."""
        return f"folder:///{folder}/bets"
