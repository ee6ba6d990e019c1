"""The conformance suite finds what it looks for: transports with one bug each, and a test that fails for it.

Each bug sits in a stream or a listener on top of the memory transport.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import ClassVar, TypeAlias

import pytest

from bets_protocol import ConnectError, PeerClosed, ReadError, TransportError, TransportTimeout
from bets_protocol.testing.transports import TransportConformance
from bets_protocol.transports import Listener, Stream, Url, connect, listen, register_transport
from bets_protocol.transports import registry as _registry
from tests.transports.mask_plugin.mask_transport import MaskedListener, MaskedStream

URL = "crooked://x"

StreamClass: TypeAlias = type[MaskedStream]
ListenerClass: TypeAlias = "type[SoundListener]"


class Suite(TransportConformance):
    """The suite; named so that pytest does not collect it, its tests are called below."""

    connections = 20


class HastySuite(Suite):
    """For tests that are to fail."""

    deadline_s = 0.5


class SoundListener(MaskedListener):
    def __init__(self, beneath: Listener, url: Url, stream: StreamClass) -> None:
        super().__init__(beneath)
        self.url = str(url)
        self._make_stream = stream

    def accept(self) -> Stream | None:
        stream = self._beneath.accept()
        return self._make_stream(stream) if stream is not None else None


class CrookedTransport:
    def __init__(self, stream: StreamClass, listener: ListenerClass) -> None:
        self._stream = stream
        self._listener = listener

    def connect(self, url: Url, timeout_s: float) -> Stream:
        try:
            return self._stream(connect(f"memory://{url.host}", timeout_s=timeout_s))
        except ConnectError as error:
            raise type(error)(f"{url}: {error}") from error

    def listen(self, url: Url, backlog: int) -> Listener:
        try:
            return self._listener(listen(f"memory://{url.host}", backlog=backlog), url, self._stream)
        except ConnectError as error:
            raise type(error)(f"{url}: {error}") from error


class IgnoresMaxBytes(MaskedStream):
    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        return super().receive(2 * max_bytes)


class SaysEndForNothing(MaskedStream):
    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        return super().receive(max_bytes) or b""


class SaysNothingForEnd(MaskedStream):
    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        return super().receive(max_bytes) or None


class TakesABreakForAnEnd(MaskedStream):
    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        try:
            return super().receive(max_bytes)
        except ReadError:
            return b""


class RaisesAnotherTimeout(MaskedStream):
    def receive(self, max_bytes: int = 65_536) -> bytes | None:
        try:
            return super().receive(max_bytes)
        except TransportTimeout as error:
            raise PeerClosed(str(error)) from error


class ClaimsToHaveTakenAll(MaskedStream):
    def send(self, data: bytes | bytearray | memoryview) -> int:
        super().send(data)
        return len(data)


class SendsWhatFits(MaskedStream):
    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.send(data)


class HasItsOwnIdeaOfTime(MaskedStream):
    def set_timeout(self, timeout_s: float | None) -> None:
        super().set_timeout(max(timeout_s, 1) if timeout_s else timeout_s)


class HasNoIdeaOfTime(MaskedStream):
    def set_timeout(self, timeout_s: float | None) -> None:
        super().set_timeout(None if timeout_s else timeout_s)


class TakesAnyTimeout(MaskedStream):
    def set_timeout(self, timeout_s: float | None) -> None:
        super().set_timeout(timeout_s if timeout_s and 0 < timeout_s < 1e6 else 0)


class ClosesOnce(MaskedStream):
    def close(self) -> None:
        if self.fileno() < 0:
            raise TransportError("closed already")
        super().close()


class NeverEndsItsSide(MaskedStream):
    def close_writing(self) -> None:
        pass


class HasAPeerOfTwoLines(MaskedStream):
    def __init__(self, beneath: Stream) -> None:
        super().__init__(beneath)
        self.peer = "two\nlines"


class AcceptsNobody(SoundListener):
    def accept(self) -> Stream | None:
        return None


class AcceptsWaitingStreams(SoundListener):
    def accept(self) -> Stream | None:
        stream = super().accept()
        if stream is not None:
            stream.set_timeout(None)
        return stream


class WaitsForSomebody(SoundListener):
    def accept(self) -> Stream | None:
        deadline = time.monotonic() + 1.5
        while (stream := super().accept()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return stream


class StaysOpen(SoundListener):
    forgotten: ClassVar[list[Listener]] = []

    def close(self) -> None:
        self.forgotten.append(self._beneath)


class HasAnotherUrl(SoundListener):
    def __init__(self, beneath: Listener, url: Url, stream: StreamClass) -> None:
        super().__init__(beneath, url, stream)
        self.url = "memory://elsewhere"


@pytest.fixture(autouse=True)
def _cleaned_up() -> Iterator[None]:
    yield
    _registry._table.pop("crooked", None)
    while StaysOpen.forgotten:
        StaysOpen.forgotten.pop().close()


def run(suite: Suite, name: str) -> None:
    """One test of the suite, as pytest runs it."""
    suite.setup_method()
    getattr(suite, name)(URL)
    suite.teardown_method()


@pytest.mark.parametrize("name", [name for name in dir(Suite) if name.startswith("test_")])
def test_what_is_sound_passes(name: str) -> None:
    """The wrapping that all bugs below share is none."""
    register_transport("crooked", CrookedTransport(MaskedStream, SoundListener))
    run(Suite(), name)


@pytest.mark.parametrize(
    ("stream", "listener", "name"),
    [
        (IgnoresMaxBytes, SoundListener, "test_receive_takes_no_more_than_asked_for"),
        (SaysEndForNothing, SoundListener, "test_nothing_there_is_none"),
        (SaysNothingForEnd, SoundListener, "test_the_end_of_the_stream_is_empty_and_stays_so"),
        (SaysNothingForEnd, SoundListener, "test_half_a_connection_goes_on"),
        (TakesABreakForAnEnd, SoundListener, "test_a_reset_is_no_end_of_stream"),
        (TakesABreakForAnEnd, SoundListener, "test_a_reset_noticed_by_sending_is_no_end_of_stream"),
        (TakesABreakForAnEnd, SoundListener, "test_a_closed_stream_says_so"),
        (RaisesAnotherTimeout, SoundListener, "test_waiting_for_bytes_ends_at_the_timeout"),
        (RaisesAnotherTimeout, SoundListener, "test_a_connected_stream_waits_as_long_as_connecting_might"),
        (ClaimsToHaveTakenAll, SoundListener, "test_no_room_is_zero_and_nothing_is_lost"),
        (ClaimsToHaveTakenAll, SoundListener, "test_megabytes_travel_both_ways_at_once"),
        (SendsWhatFits, SoundListener, "test_send_all_is_for_streams_that_may_wait"),
        (HasItsOwnIdeaOfTime, SoundListener, "test_waiting_for_bytes_ends_at_the_timeout"),
        (HasNoIdeaOfTime, SoundListener, "test_waiting_for_bytes_ends_at_the_timeout"),
        (HasNoIdeaOfTime, SoundListener, "test_waiting_for_room_ends_at_the_timeout"),
        (HasNoIdeaOfTime, SoundListener, "test_a_connected_stream_waits_as_long_as_connecting_might"),
        (TakesAnyTimeout, SoundListener, "test_senseless_timeouts_are_refused"),
        (ClosesOnce, SoundListener, "test_a_closed_stream_says_so"),
        (NeverEndsItsSide, SoundListener, "test_half_a_connection_goes_on"),
        (NeverEndsItsSide, SoundListener, "test_many_connections_at_once"),
        (HasAPeerOfTwoLines, SoundListener, "test_a_peer_can_stand_in_a_log"),
        (MaskedStream, AcceptsNobody, "test_bytes_travel_both_ways"),
        (MaskedStream, AcceptsWaitingStreams, "test_bytes_travel_both_ways"),
        (MaskedStream, WaitsForSomebody, "test_an_idle_listener_accepts_nobody"),
        (MaskedStream, StaysOpen, "test_with_closes"),
        (MaskedStream, StaysOpen, "test_a_closed_listener_says_so"),
        (MaskedStream, StaysOpen, "test_a_url_can_be_listened_at_again"),
        (MaskedStream, HasAnotherUrl, "test_bytes_travel_both_ways"),
        (MaskedStream, HasAnotherUrl, "test_a_taken_url_is_refused"),
    ],
)
def test_a_bug_is_found(stream: StreamClass, listener: ListenerClass, name: str) -> None:
    """The test that is about it fails."""
    register_transport("crooked", CrookedTransport(stream, listener))
    with pytest.raises((AssertionError, TransportError, pytest.fail.Exception)):
        run(HastySuite(), name)


def test_a_descriptor_left_open_is_found() -> None:
    """The test that leaves it fails."""
    suite = HastySuite()
    suite.setup_method()
    left = os.dup(0)
    try:
        with pytest.raises(AssertionError, match=f"the test left behind: .'{left} "):
            suite.teardown_method()
    finally:
        os.close(left)


def test_a_thread_left_running_is_found() -> None:
    """The test that leaves it fails."""
    suite = HastySuite()
    suite.setup_method()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,), name="straggler")
    thread.start()
    try:
        with pytest.raises(AssertionError, match=r"the test left behind: .'straggler'"):
            suite.teardown_method()
    finally:
        end.set()
        thread.join()


def test_a_transport_may_say_that_it_reports_no_resets() -> None:
    """Then the tests of resets are skipped."""

    class Reticent(Suite):
        reports_reset = False

    with pytest.raises(pytest.skip.Exception, match="reports_reset"):
        run(Reticent(), "test_a_reset_is_no_end_of_stream")
