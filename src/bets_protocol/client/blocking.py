"""The blocking client: `connect` and what it returns."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar, Unpack, cast, overload

from bets_protocol.client.agency import Agency, AtLeastOnceResult, Source, UploadResult
from bets_protocol.client.driver import BlockingDriver, Connect, Selector, Steps, Wait
from bets_protocol.client.link import Link
from bets_protocol.client.options import ClientOptions, Settings, new_options
from bets_protocol.codec import NEWEST_REVISION
from bets_protocol.errors import ClientClosed
from bets_protocol.limits import DEFAULT_BATCH_MAX
from bets_protocol.transports import Stream

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
) -> Client[UploadResult]: ...
@overload
def connect(
    url: str,
    *,
    agency: int,
    draw: int = 1,
    revision: Literal[5, 6, 7, 8],
    batch_max: int = DEFAULT_BATCH_MAX,
    **settings: Unpack[Settings],
) -> Client[AtLeastOnceResult]: ...
def connect(
    url: str,
    *,
    agency: int,
    draw: int = 1,
    revision: int = NEWEST_REVISION,
    batch_max: int = DEFAULT_BATCH_MAX,
    **settings: Unpack[Settings],
) -> Client[UploadResult] | Client[AtLeastOnceResult]:
    """A client for one agency. The connection is made when it is needed, and made again when it is lost.

    Args:
        url: of the server, as in ``tcp://127.0.0.1:12345``.
        agency: 1 to 255.
        draw: the draw's id; on revision 9.
        revision: 9 stores each bet exactly once. 5 to 8 are for older servers and store each bet at least once: after
            a lost connection a bet may be stored twice, and nobody can tell.
        batch_max: the most bets in a batch, 1 to 255.
        settings: see `Settings`.

    Raises:
        ConfigError: an argument cannot be used; the text names it.
    """
    options = new_options(url, revision, **settings)
    found: Client[UploadResult] = Client(options, Agency(options, agency, draw, batch_max))
    return found


class Client(Generic[R]):
    """Uploads an agency's bets and gets its winners; made by `connect`.

    Thread: one at a time; `close` may be called from any.
    """

    def __init__(self, options: ClientOptions, agency: Agency) -> None:
        self._agency = agency
        self._driver = _ClosableDriver(options)
        self._working = threading.Lock()

    def upload(self, source: Source, *, name: str | None = None, label: str = "", window: int | None = None) -> R:
        """Send all bets of `source`, and return when they are on the server's disk.

        The whole source is checked before anything is sent. On revision 9 its content names the upload: calling this
        again, in this process or another one, goes on where the last call has stopped.

        Args:
            source: the path of a CSV file, such a file opened in binary mode, or a collection of `Bet` that can be
                iterated over more than once. It must stay the same until the winners are there.
            name: for messages; by default the path.
            label: makes an identical source a different upload; at most 255 bytes of UTF-8; on revision 9.
            window: batches that may be sent and not acknowledged, in place of that of `connect`.

        Raises:
            InputError: the source cannot be used; `BadRow` says which row. Nothing was sent.
            SourceChanged: it is not what it was when it was checked, or when the upload began.
            UploadRefused: the server refuses the upload for good (`BetsRefused` on the revisions 5 to 8).
            GaveUp: no answer until the deadline. What the server has acknowledged is stored.
            RemoteProtocolError: the server breaks the protocol, or speaks another revision.
            ClientClosed: the client was closed.
        """
        steps = self._agency.upload(source, name=name, label=label, window=window)
        return cast("R", self._run(steps))

    def finish(self) -> None:
        """Say that the agency has sent everything, and return when the server has that on disk; on revision 9.

        Later uploads of the agency are refused. `winners` says it, too.

        Raises:
            BetsError: as `winners`.
            LocalProtocolError: nothing was uploaded by this client, or it speaks an older revision.
        """
        self._run(self._agency.finish())

    def winners(self, timeout_s: float | None = None) -> tuple[str, ...]:
        """Say that the agency has sent everything, wait for the draw, and return the documents of its winners.

        Args:
            timeout_s: seconds to wait for the draw; by default `retry_for_s`. After `NotDrawn` it may be called again.

        Raises:
            NotDrawn: the draw has not taken place yet.
            BetsError: as `upload`.
        """
        return self._run(self._agency.winners(timeout_s))

    def close(self) -> None:
        """Close the connection. What works in another thread ends with `ClientClosed`. A second call has no effect."""
        self._driver.cancel()
        if self._working.acquire(blocking=False):
            try:
                self._agency.close()
                self._driver.close()
            finally:
                self._working.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        if not self._working.acquire(blocking=False):
            raise RuntimeError("another thread uses this client; make one for each thread")
        try:
            return self._driver.run(steps)
        finally:
            if self._driver.cancelled:
                self._agency.close()
                self._driver.close()
            self._working.release()


class _ClosableDriver(BlockingDriver):
    """A driver whose waits end when another thread cancels it."""

    def __init__(self, options: ClientOptions) -> None:
        super().__init__(options)
        self.cancelled = False
        self._wakes, self._waker = socket.socketpair()

    def cancel(self) -> None:
        """End what is going on with `ClientClosed`. Thread: any."""
        self.cancelled = True
        with contextlib.suppress(OSError):  # closed
            self._waker.send(b"\0")

    def close(self) -> None:
        """Close what wakes it. Calling it again has no effect."""
        self._wakes.close()
        self._waker.close()

    def _perform(self, step: Connect | Wait) -> Stream | None:
        if self.cancelled:
            raise ClientClosed("the client is closed")
        return super()._perform(step)

    def _wait(self, links: Sequence[Link], seconds: float) -> bool:
        with Selector() as selector:
            selector.register(self._wakes, selectors.EVENT_READ)
            for link in links:
                selector.register(link, link.interest)
            return bool(selector.select(seconds))
