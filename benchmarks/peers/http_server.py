"""The intake with FastAPI under uvicorn: a request with JSON a batch, rows in SQLite, an answer after the commit."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
from datetime import date
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, StringConstraints
from pydantic.fields import Field

from benchmarks.peers.rows_store import GroupCommitter, RowStore

NUMBER = 7574

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class Bet(BaseModel):
    """A bet, with its rules."""

    agency: Annotated[int, Field(ge=1, le=255)]
    first_name: Name
    last_name: Name
    document: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]
    birthdate: date
    number: Annotated[int, Field(ge=0, le=9999)]


class Batch(BaseModel):
    """What an agency sends at a time."""

    bets: Annotated[list[Bet], Field(min_length=1, max_length=255)]


def application(store: RowStore, *, agencies: int, group: bool) -> FastAPI:
    """The intake as an ASGI application; with `group`, requests share commits, else each has its own."""
    app = FastAPI()
    committer = GroupCommitter(store) if group else None
    asked: set[int] = set()
    everybody = asyncio.Event()

    @app.post("/bets")
    async def add(batch: Batch) -> dict[str, int]:
        rows = [
            (bet.agency, bet.first_name, bet.last_name, bet.document, bet.birthdate.isoformat(), bet.number)
            for bet in batch.bets
        ]
        if committer is None:
            store.commit([rows])
        else:
            loop = asyncio.get_running_loop()
            stored: asyncio.Future[None] = loop.create_future()
            committer.add(rows, lambda: loop.call_soon_threadsafe(stored.set_result, None))
            await stored
        logging.info("action: apuesta_recibida | result: success | cantidad: %d", len(rows))
        return {"stored": len(rows)}

    @app.get("/winners/{agency}")
    async def winners(agency: int) -> dict[str, list[str]]:
        asked.add(agency)
        if len(asked) == agencies:
            everybody.set()
        await everybody.wait()
        return {"documents": store.winners(agency, NUMBER)}

    return app


def main() -> None:
    """Serves as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--agencies", type=int, default=5)
    parser.add_argument("--commit", choices=("batch", "group"), default="batch")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
    app = application(RowStore(options.store), agencies=options.agencies, group=options.commit == "group")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        # Accepted connections inherit it; without it the end of an answer waits 40 ms for its beginning to be seen.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(f"port: {listener.getsockname()[1]}", flush=True)
        # With what it is fastest with, as its own "standard" extra installs it.
        config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
        config.timeout_keep_alive = 300  # an agency that is done waits for the others
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
