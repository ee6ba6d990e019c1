"""`mask://host:port`: TCP with every byte XORed with 42, so that no one reads bets over a shoulder.

A transport as others write it: it uses the documented names only, and leaves to TCP what TCP does well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bets_protocol import ConnectError
from bets_protocol.transports import Listener, Stream, Url, connect, listen

_MASK = bytes(byte ^ 42 for byte in range(256))


class MaskTransport:
    """What the entry point names; called without arguments, once."""

    def connect(self, url: Url, timeout_s: float) -> Stream:
        with _naming(url):
            return MaskedStream(connect(_beneath(url), timeout_s=timeout_s))

    def listen(self, url: Url, backlog: int) -> Listener:
        with _naming(url):
            return MaskedListener(listen(_beneath(url), backlog=backlog))


class MaskedStream(Stream):
    """Masks what goes out, unmasks what comes in, and leaves the rest to the stream beneath."""

    def __init__(self, beneath: Stream) -> None:
        self.peer = beneath.peer
        self._beneath = beneath

    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        data = self._beneath.receive(max_bytes)
        return data.translate(_MASK) if data else data

    def send(self, data: bytes | bytearray | memoryview) -> int:
        # A part is enough, and all of it might be masked again and again.
        return self._beneath.send(bytes(memoryview(data)[:65_536]).translate(_MASK))

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._beneath.send_all(bytes(memoryview(data)).translate(_MASK))  # `bytes(5)` would be bytes, too

    def fileno(self) -> int:
        return self._beneath.fileno()

    def set_timeout(self, timeout_s: float | None) -> None:
        self._beneath.set_timeout(timeout_s)

    def close_writing(self) -> None:
        self._beneath.close_writing()

    def close(self) -> None:
        self._beneath.close()


class MaskedListener(Listener):
    """Masks the streams of the listener beneath."""

    def __init__(self, beneath: Listener) -> None:
        self.url = beneath.url.replace("tcp", "mask", 1)
        self._beneath = beneath

    def accept(self) -> Stream | None:
        stream = self._beneath.accept()
        return MaskedStream(stream) if stream is not None else None

    def fileno(self) -> int:
        return self._beneath.fileno()

    def close(self) -> None:
        self._beneath.close()


def _beneath(url: Url) -> Url:
    return Url(scheme="tcp", host=url.host, port=url.port, path=url.path)


@contextlib.contextmanager
def _naming(url: Url) -> Iterator[None]:
    """Lets errors name the url that the caller gave; their kind stays."""
    try:
        yield
    except ConnectError as error:
        raise type(error)(f"{url}: {error}") from error
