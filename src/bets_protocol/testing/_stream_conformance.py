"""What the contract of `Stream` promises, as tests; the first half of the conformance suite of transports."""

from __future__ import annotations

import contextlib
import functools
import random
import selectors
from collections.abc import Callable
from typing import ClassVar

import pytest

from bets_protocol.errors import ReadError, TransportError, TransportTimeout, WriteError
from bets_protocol.testing._driving import End, Wiring, check, check_same, promptly

SHORT_S = 0.05
_MEBIBYTE = bytes(1 << 20)


class StreamConformance(Wiring):
    """Both ends of one connection, whatever is between them."""

    reports_reset: ClassVar[bool] = True

    def test_bytes_travel_both_ways(self, listen_url: str) -> None:
        """What one end sends, the other receives."""
        with self.pair(listen_url) as (client, server):
            client.send_all(b"ping")
            self.expect(server, b"ping")
            server.set_timeout(self.deadline_s)
            server.send_all(b"pong")
            self.expect(client, b"pong")

    def test_megabytes_travel_both_ways_at_once(self, listen_url: str) -> None:
        """Two ends that send 4 MB to each other in one selector loop both get all of it, in order."""
        there, back = (random.Random(seed).randbytes(4_000_000) for seed in (1, 2))
        with self.pair(listen_url) as (client, server):
            client.set_timeout(0)
            ends = End(client, there), End(server, back)
            self.drive(*ends, until=lambda: len(ends[0].received) >= len(back) and len(ends[1].received) >= len(there))
            check_same(back, bytes(ends[0].received), "received by the client")
            check_same(there, bytes(ends[1].received), "received by the server")

    def test_every_kind_of_buffer_can_be_sent(self, listen_url: str) -> None:
        """bytes, bytearray and slices of a memoryview are taken, empty ones without a wait."""
        with self.pair(listen_url) as (client, server):
            client.send_all(b"one ")
            client.send_all(bytearray(b"two "))
            client.send_all(memoryview(b"...three...")[3:8])
            client.send_all(b"")
            check_same(0, client.send(b""), "taken of nothing")
            check_same(1, client.send(memoryview(b"...!")[3:]), "taken of one byte")
            self.expect(server, b"one two three!")

    def test_what_are_no_bytes_is_refused(self, listen_url: str) -> None:
        """A `TypeError` at either end, also where it is as empty as None; nothing was sent and the stream goes on."""
        with self.pair(listen_url) as (client, server):
            for senseless in (None, False, 0, 5, "", "text", [], [65], object()):
                for send in (client.send, client.send_all, server.send):
                    with pytest.raises(TypeError):
                        send(senseless)  # type: ignore[arg-type]
            client.send_all(b"sense")
            self.expect(server, b"sense")

    def test_receive_takes_no_more_than_asked_for(self, listen_url: str) -> None:
        """`max_bytes` is honoured and the rest stays for the next call."""
        with self.pair(listen_url) as (client, server):
            server.set_timeout(self.deadline_s)
            server.send_all(b"abcdefgh")
            check_same(b"a", client.receive(1), "one byte")
            rest = bytearray()
            while len(rest) < 7:
                piece = client.receive(3)
                check(piece is not None and 1 <= len(piece) <= 3, f"receive(3) gave {piece!r}")
                rest += piece or b""
            check_same(b"bcdefgh", bytes(rest), "the rest")
            for size in (0, -1):
                with pytest.raises(ValueError, match="max_bytes"):
                    client.receive(size)

    def test_nothing_there_is_none(self, listen_url: str) -> None:
        """A non-blocking stream says None while nothing is there, and after it was drained."""
        with self.pair(listen_url) as (client, server):
            check_same(None, server.receive(), "received from a silent client")
            client.set_timeout(0)
            check_same(None, client.receive(), "received from a silent server")
            check_same(5, client.send(b"hello"), "taken with room to spare")
            self.expect(server, b"hello")
            check_same(None, server.receive(), "received once drained")

    def test_no_room_is_zero_and_nothing_is_lost(self, listen_url: str) -> None:
        """A non-blocking stream takes what there is room for, then 0, then more; all of it arrives in order."""
        with self.pair(listen_url) as (client, server):
            client.set_timeout(0)
            source = random.Random(3)
            sent = bytearray()
            full = 0
            # Buffers may still grow while they fill: full is what stays full.
            while full < 3:
                check(len(sent) < 1 << 26, "64 MB were taken though nobody receives")
                block = source.randbytes(65_536)
                taken = client.send(block)
                sent += block[:taken]
                full = 0 if taken else full + 1
            end = End(server)
            # What a stream holds back for want of room, it can send when it is served, and says so.
            serving = (End(client), end) if client.needs_write else (end,)
            self.drive(*serving, until=lambda: len(end.received) >= len(sent))
            check_same(bytes(sent), bytes(end.received), "received")
            last = End(client, b"!")
            self.drive(last, end, until=lambda: len(end.received) > len(sent))
            check_same(b"!", bytes(end.received[len(sent) :]), "received once there was room")

    def test_waiting_for_bytes_ends_at_the_timeout(self, listen_url: str) -> None:
        """A silent peer gives `TransportTimeout`, which is a `TimeoutError`, and the stream goes on."""
        with self.pair(listen_url) as (client, server):
            client.set_timeout(SHORT_S)
            with pytest.raises(TransportTimeout) as caught:
                promptly(client.receive, self.deadline_s, "receive past its timeout")
            check(isinstance(caught.value, TimeoutError), "TransportTimeout is no TimeoutError")
            check_same(5, server.send(b"later"), "taken")
            client.set_timeout(self.deadline_s)
            check_same(b"later", client.receive(), "received behind the timeout")

    def test_waiting_for_room_ends_at_the_timeout(self, listen_url: str) -> None:
        """`send` to a peer that does not receive gives `TransportTimeout`; so does `send_all`."""
        with self.pair(listen_url) as (client, _):
            client.set_timeout(SHORT_S)
            for send in (client.send, client.send_all):
                sending = functools.partial(_send_often, send, _MEBIBYTE, 256)
                with pytest.raises(TransportTimeout):
                    promptly(sending, self.deadline_s, "sending past its timeout")

    def test_a_connected_stream_waits_as_long_as_connecting_might(self, listen_url: str) -> None:
        """`connect` leaves its own timeout on the stream."""
        with self.pair(listen_url, timeout_s=0.5) as (client, _), pytest.raises(TransportTimeout):
            promptly(client.receive, self.deadline_s, "receive past the timeout of connect")

    def test_senseless_timeouts_are_refused(self, listen_url: str) -> None:
        """A timeout that is negative, endless or no number is a `ValueError` and changes nothing."""
        with self.pair(listen_url) as (client, _):
            client.set_timeout(0)
            for timeout_s in (-1, float("inf"), float("nan")):
                with pytest.raises(ValueError, match="timeout_s"):
                    client.set_timeout(timeout_s)
            check_same(None, client.receive(), "received, still without waiting")

    def test_send_all_is_for_streams_that_may_wait(self, listen_url: str) -> None:
        """On a non-blocking stream it is refused before it has sent anything."""
        with self.pair(listen_url) as (client, server):
            client.set_timeout(0)
            with pytest.raises(ValueError, match="non-blocking"):
                client.send_all(b"lost?")
            client.set_timeout(None)
            client.send_all(b"all")
            self.expect(server, b"all")

    def test_the_end_of_the_stream_is_empty_and_stays_so(self, listen_url: str) -> None:
        """After the last byte of a peer that closed comes ``b""``, each time."""
        with self.pair(listen_url) as (client, server):
            client.send_all(b"bye")
            client.close()
            end = End(server)
            self.drive(end, until=lambda: end.ended)
            check_same(b"bye", bytes(end.received), "received before the end")
            check_same(b"", server.receive(), "received behind the end")

    def test_half_a_connection_goes_on(self, listen_url: str) -> None:
        """Who ended its side still receives; it can end it again, and cannot send."""
        with self.pair(listen_url) as (client, server):
            client.send_all(b"question")
            client.close_writing()
            client.close_writing()
            end = End(server)
            self.drive(end, until=lambda: end.ended)
            check_same(b"question", bytes(end.received), "received before the end")
            with pytest.raises(WriteError):
                client.send_all(b"more")
            server.set_timeout(self.deadline_s)
            server.send_all(b"answer")
            server.close()
            self.expect(client, b"answer")
            check_same(b"", client.receive(), "received behind the answer")
            client.close_writing()

    def test_a_reset_is_no_end_of_stream(self, listen_url: str) -> None:
        """A connection that breaks never shows as an orderly end, however often one asks."""
        self._needs_resets()
        with self.pair(listen_url) as (client, server):
            self.break_off(client, server)
            for _attempt in range(3):
                with pytest.raises(ReadError):
                    client.receive()
            with pytest.raises(WriteError):
                client.close_writing()

    def test_a_reset_noticed_by_sending_is_no_end_of_stream(self, listen_url: str) -> None:
        """The same when `send` met it first."""
        self._needs_resets()
        with self.pair(listen_url) as (client, server):
            self.break_off(client, server)
            for _attempt in range(3):
                with pytest.raises(WriteError):
                    client.send(b"x")
            for _attempt in range(3):
                with pytest.raises(ReadError):
                    client.receive()

    def test_sending_to_a_peer_that_left_fails(self, listen_url: str) -> None:
        """Sooner or later, since the first bytes may travel before the news comes; for `send` and `send_all` alike."""
        with self.pair(listen_url) as (client, server):
            server.close()
            for send in (client.send, client.send_all):
                with pytest.raises(WriteError):
                    _send_often(send, b"anybody there?", 1_000_000)

    def test_a_closed_stream_says_so(self, listen_url: str) -> None:
        """It can be closed again; everything else raises, without a wait."""
        with self.pair(listen_url) as (client, _):
            client.close()
            client.close()
            check_same(-1, client.fileno(), "descriptor")
            with pytest.raises(ReadError):
                client.receive()
            for data in (b"x", b""):
                with pytest.raises(WriteError):
                    client.send(data)
                with pytest.raises(WriteError):
                    client.send_all(data)
            with pytest.raises(WriteError):
                client.close_writing()
            with pytest.raises(TransportError):
                client.set_timeout(1)

    def test_a_stream_can_be_given_up(self, listen_url: str) -> None:
        """It is closed at once, twice is harmless; the peer comes to an end, orderly or not, and to no more bytes."""
        with self.pair(listen_url) as (client, server):
            client.send_all(b"taken")
            self.expect(server, b"taken")
            client.abort()
            client.abort()
            check_same(-1, client.fileno(), "descriptor")
            server.set_timeout(self.deadline_s)
            with contextlib.suppress(ReadError):
                check_same(b"", server.receive(), "received after the end")

    def test_a_stream_is_ready_when_bytes_are_there(self, listen_url: str) -> None:
        """Its descriptor becomes readable with the first byte and with the end, and is writable while there is room."""
        with self.pair(listen_url) as (client, server), selectors.DefaultSelector() as selector:
            selector.register(server.fileno(), selectors.EVENT_READ)
            check_same(None, server.receive(), "received before")
            check_same([], selector.select(SHORT_S), "ready though nothing was sent")
            client.send_all(b"x")
            check(bool(selector.select(self.deadline_s)), "not ready though bytes are there")
            self.expect(server, b"x")
            client.close_writing()
            check(bool(selector.select(self.deadline_s)), "not ready at the end")
            selector.modify(server.fileno(), selectors.EVENT_WRITE)
            check(bool(selector.select(self.deadline_s)), "not writable though there is room")

    def test_a_peer_can_stand_in_a_log(self, listen_url: str) -> None:
        """Both ends name their peer in printable characters without spaces."""
        with self.pair(listen_url) as (client, server):
            for peer in (client.peer, server.peer):
                check(peer != "" and peer.isprintable() and " " not in peer, f"peer is {peer!r}")

    def _needs_resets(self) -> None:
        if not self.reports_reset:
            pytest.skip("this transport does not tell a reset from an end (reports_reset)")


def _send_often(send: Callable[[bytes], int | None], data: bytes, times: int) -> None:
    for _time in range(times):
        send(data)
