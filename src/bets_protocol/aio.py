"""The client for asyncio: `connect` and what it returns. It drives the conversations of `bets_protocol.client`."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar, Unpack, cast, overload

from bets_protocol import transports
from bets_protocol.client.agency import Agency, AtLeastOnceResult, Source, UploadResult
from bets_protocol.client.driver import Connect, Steps, Wait
from bets_protocol.client.options import ClientOptions, Settings, new_options
from bets_protocol.codec import NEWEST_REVISION
from bets_protocol.errors import ClientClosed
from bets_protocol.limits import DEFAULT_BATCH_MAX
from bets_protocol.transports import Stream

__all__ = ["AsyncClient", "connect"]

T = TypeVar("T")
R = TypeVar("R")


@overload
def connect(
    url: str,
    *,
    agency: int,
    draw: int = 1,
    revision: Literal[9] = 9,
    batch_max: int = DEFAULT_BATCH_MAX,
    **settings: Unpack[Settings],
) -> AsyncClient[UploadResult]: ...
@overload
def connect(
    url: str,
    *,
    agency: int,
    draw: int = 1,
    revision: Literal[5, 6, 7, 8],
    batch_max: int = DEFAULT_BATCH_MAX,
    **settings: Unpack[Settings],
) -> AsyncClient[AtLeastOnceResult]: ...
def connect(
    url: str,
    *,
    agency: int,
    draw: int = 1,
    revision: int = NEWEST_REVISION,
    batch_max: int = DEFAULT_BATCH_MAX,
    **settings: Unpack[Settings],
) -> AsyncClient[UploadResult] | AsyncClient[AtLeastOnceResult]:
    """A client for one agency, for ``async with``; the arguments are those of `bets_protocol.client.connect`.

    Raises:
        ConfigError: an argument cannot be used; the text names it.
    """
    options = new_options(url, revision, **settings)
    found: AsyncClient[UploadResult] = AsyncClient(options, Agency(options, agency, draw, batch_max))
    return found


class AsyncClient(Generic[R]):
    """Uploads an agency's bets and gets its winners; made by `connect`.

    Every await may be cancelled: the connection is closed, and what the server has acknowledged is stored.

    Task: one at a time.
    """

    def __init__(self, options: ClientOptions, agency: Agency) -> None:
        self._agency = agency
        self._options = options
        self._closed = False
        self._working = False

    async def upload(self, source: Source, *, name: str | None = None, label: str = "", window: int | None = None) -> R:
        """As `bets_protocol.client.Client.upload`."""
        steps = self._agency.upload(source, name=name, label=label, window=window)
        return cast("R", await self._run(steps))

    async def finish(self) -> None:
        """As `bets_protocol.client.Client.finish`."""
        await self._run(self._agency.finish())

    async def winners(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """As `bets_protocol.client.Client.winners`."""
        return await self._run(self._agency.winners(timeout_s))

    def close(self) -> None:
        """Close the connection, while no task awaits the client. Calling it again has no effect."""
        self._closed = True
        self._agency.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self, steps: Steps[T]) -> T:
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._working:
            raise RuntimeError("another task awaits this client; make one for each task")
        self._working = True
        try:
            return await _driven(steps, self._options)
        finally:
            self._working = False


async def _driven(steps: Steps[T], options: ClientOptions) -> T:
    """Run a conversation to its end; a cancellation comes up where it waits."""
    result: Stream | None = None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if error is None else steps.throw(error)
        except StopIteration as end:
            value: T = end.value
            return value
        result = error = None
        try:
            if isinstance(step, Connect):
                result = await _connected(options, step.timeout_s)
            else:
                await _waited(step)
        except BaseException as raised:  # noqa: BLE001 - an error, or a cancellation
            error = raised


async def _connected(options: ClientOptions, timeout_s: float) -> Stream:
    # Names are resolved and TLS shakes hands in a thread; a stream that comes after a cancellation is closed.
    def connecting() -> Stream:
        return transports.connect(options.url, timeout_s=timeout_s, transports=options.transports)

    future = asyncio.get_running_loop().run_in_executor(None, connecting)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_close_late)
        raise


def _close_late(future: asyncio.Future[Stream]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()


async def _waited(step: Wait) -> None:
    if step.over or not step.links:
        await asyncio.sleep(0 if step.over else step.seconds)
        return
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    undo: list[tuple[Callable[[int], bool], int]] = []
    try:
        for link in step.links:
            descriptor = link.fileno()
            loop.add_reader(descriptor, _set, ready)
            undo.append((loop.remove_reader, descriptor))
            if link.interest & selectors.EVENT_WRITE:
                loop.add_writer(descriptor, _set, ready)
                undo.append((loop.remove_writer, descriptor))
        await asyncio.wait([ready], timeout=step.seconds)
    finally:
        for remove, descriptor in undo:
            remove(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
