"""The intake with gRPC: a stream of protobuf batches, an answer to each, rows in SQLite.

``--style threads`` is the usual server with a pool of threads; ``--style asyncio`` is `grpc.aio`. ``--commit group``
shares a flush among the agencies, see `rows_store`; ``--commit batch`` commits every batch by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from benchmarks.peers.messages import Row, checked_rows, protobuf_class
from benchmarks.peers.rows_store import GroupCommitter, RowStore

NUMBER = 7574
BATCH = protobuf_class()
SERVICE = "bench.Intake"


def _ack(count: int) -> bytes:
    """A message with one integer in it, and no more."""
    return count.to_bytes(2, "big")


def _documents(documents: list[str]) -> bytes:
    return "".join(documents).encode()


def _keep(value: bytes) -> bytes:
    return value


class ThreadedIntake:
    """What a thread of the pool does for each call."""

    def __init__(self, store: RowStore, *, agencies: int, group: bool) -> None:
        self._store = store
        self._committer = GroupCommitter(store) if group else None
        self._lock = threading.Lock()
        self._everybody = threading.Barrier(agencies)

    def upload(self, requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[bytes]:
        """Stores each batch of a stream and answers it."""
        for request in requests:
            rows = checked_rows(request.bets)
            if self._committer is None:
                with self._lock:
                    self._store.commit([rows])
            else:
                stored = threading.Event()
                self._committer.add(rows, stored.set)
                stored.wait()
            logging.info("action: apuesta_recibida | result: success | cantidad: %d", len(rows))
            yield _ack(len(rows))

    def winners(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        """Waits for every agency, then answers."""
        self._everybody.wait()
        with self._lock:
            return _documents(self._store.winners(request[0], NUMBER))


class AsyncIntake:
    """The same in coroutines of one thread."""

    def __init__(self, store: RowStore, *, agencies: int, group: bool) -> None:
        self._store = store
        self._committer = GroupCommitter(store) if group else None
        self._missing = agencies
        self._everybody = asyncio.Event()

    async def upload(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[bytes]:
        """Stores each batch of a stream and answers it."""
        async for request in requests:
            rows = checked_rows(request.bets)
            await self._commit(rows)
            logging.info("action: apuesta_recibida | result: success | cantidad: %d", len(rows))
            yield _ack(len(rows))

    async def _commit(self, rows: list[Row]) -> None:
        if self._committer is None:
            self._store.commit([rows])
            return
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self._committer.add(rows, lambda: loop.call_soon_threadsafe(stored.set_result, None))
        await stored

    async def winners(self, request: bytes, _context: Any) -> bytes:
        """Waits for every agency, then answers."""
        self._missing -= 1
        if not self._missing:
            self._everybody.set()
        await self._everybody.wait()
        return _documents(self._store.winners(request[0], NUMBER))


def _handlers(intake: Any) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Upload": grpc.stream_stream_rpc_method_handler(intake.upload, BATCH.FromString, _keep),
            "Winners": grpc.unary_unary_rpc_method_handler(intake.winners, _keep, _keep),
        },
    )


def serve_threads(store: RowStore, *, agencies: int, group: bool) -> None:
    """Serves until SIGTERM."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2 * agencies + 2))
    server.add_generic_rpc_handlers((_handlers(ThreadedIntake(store, agencies=agencies, group=group)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"port: {port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(None).wait()


async def serve_async(store: RowStore, *, agencies: int, group: bool) -> None:
    """Serves until SIGTERM."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handlers(AsyncIntake(store, agencies=agencies, group=group)),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"port: {port}", flush=True)
    await stop.wait()
    await server.stop(None)


def main() -> None:
    """Serves as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--agencies", type=int, default=5)
    parser.add_argument("--style", choices=("threads", "asyncio"), default="threads")
    parser.add_argument("--commit", choices=("batch", "group"), default="group")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
    store = RowStore(options.store)
    group = options.commit == "group"
    if options.style == "asyncio":
        asyncio.run(serve_async(store, agencies=options.agencies, group=group))
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        serve_threads(store, agencies=options.agencies, group=group)


if __name__ == "__main__":
    main()
