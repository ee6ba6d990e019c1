"""The conformance suite of transports: what `bets_protocol.transports` promises of every scheme, as tests.

A transport's own tests subclass it and say where to listen::

    class TestCarrier(TransportConformance):
        @pytest.fixture
        def listen_url(self) -> str:
            return "carrier://127.0.0.1:0"

The transport is reached by its url alone, so it is registered or installed like for any user. Each test listens there
itself, several times in a row or twice at once where that has to fail, and connects to the `url` of its listener.

Rules: nothing is known of a transport but its contract, so that one which has to shake hands first, or needs to read in
order to write, passes as well: clients connect on a thread of their own while the server's end is served, and whoever
waits for an event tries both directions. Every wait has a deadline. A test that leaves a descriptor or a thread fails.
"""

from __future__ import annotations

import contextlib
import functools
import selectors
import threading
from typing import ClassVar

import pytest

from bets_protocol.errors import ConnectError, ReadError, TransportError
from bets_protocol.testing._driving import End, check, check_same, in_background, promptly, serve_echo, wait_readable
from bets_protocol.testing._stream_conformance import SHORT_S, StreamConformance
from bets_protocol.transports import connect, listen


class TransportConformance(StreamConformance):
    """Subclass it, give it the fixture `listen_url`, and let pytest collect the subclass.

    Attributes:
        deadline_s: seconds that any single wait may take before its test fails.
        reports_reset: whether a peer that closes with bytes unread shows as a broken connection, not as an orderly end.
        connections: how many are open at once in the test of many.
    """

    connections: ClassVar[int] = 200

    def test_with_closes(self, listen_url: str) -> None:
        """Streams and listeners are closed when their with-statement ends, with an error or without."""
        with self.pair(listen_url) as (client, server):
            with client:
                check(client.fileno() >= 0, "closed on entering")
            check_same(-1, client.fileno(), "descriptor of the client")
            with pytest.raises(RuntimeError, match="on purpose"), server:
                raise RuntimeError("on purpose")
            check_same(-1, server.fileno(), "descriptor of the server")
        with listen(listen_url) as listener:
            check(listener.fileno() >= 0, "closed on entering")
        check_same(-1, listener.fileno(), "descriptor of the listener")

    def test_an_idle_listener_accepts_nobody(self, listen_url: str) -> None:
        """None, at once."""
        with listen(listen_url) as listener:
            check_same(None, promptly(listener.accept, self.deadline_s, "accept of the listener"), "accepted")

    def test_a_listener_is_ready_while_somebody_waits(self, listen_url: str) -> None:
        """Its descriptor is readable from the first connection in the queue to the last, and not without."""
        with listen(listen_url) as listener, selectors.DefaultSelector() as selector:
            selector.register(listener.fileno(), selectors.EVENT_READ)
            check_same([], selector.select(0), "ready though nobody came")
            with contextlib.ExitStack() as clients, contextlib.ExitStack() as servers:
                for _ in range(3):
                    clients.enter_context(self.connecting(listener))
                for _ in range(3):
                    check(bool(selector.select(self.deadline_s)), "not ready though somebody waits")
                    servers.enter_context(self.accept(listener))
                check_same([], selector.select(SHORT_S), "ready though all were accepted")

    def test_a_client_that_left_was_still_heard(self, listen_url: str) -> None:
        """What it sent before it was accepted, and its end, are there."""
        with (
            listen(listen_url) as listener,
            self.connecting(listener) as future,
            self.accept(listener, future) as server,
        ):
            with future.result() as client:
                client.send_all(b"in a hurry")
            end = End(server)
            self.drive(end, until=lambda: end.ended)
            check_same(b"in a hurry", bytes(end.received), "received")

    def test_connections_outlive_their_listener(self, listen_url: str) -> None:
        """Closing a listener does nothing to what it has accepted."""
        with listen(listen_url) as listener, self.joined(listener) as (client, server):
            listener.close()
            client.send_all(b"still here")
            self.expect(server, b"still here")

    def test_a_closed_listener_says_so(self, listen_url: str) -> None:
        """Nobody connects any more; it can be closed again, and `accept` raises."""
        listener = listen(listen_url)
        listener.close()
        listener.close()
        check_same(-1, listener.fileno(), "descriptor")
        with pytest.raises(TransportError):
            listener.accept()
        with pytest.raises(ConnectError) as caught:
            connect(listener.url, timeout_s=self.deadline_s)
        check(listener.url in str(caught.value), f"the error does not name the url: {caught.value}")

    def test_connections_nobody_accepted_end_with_the_listener(self, listen_url: str) -> None:
        """They are not left waiting for an answer."""
        with listen(listen_url) as listener, self.connecting(listener) as future:
            wait_readable(listener, self.deadline_s)
            listener.close()
            # It breaks, ends, or never comes about.
            with contextlib.suppress(ConnectError, ReadError), future.result(self.deadline_s) as client:
                check_same(b"", client.receive(), "received")

    def test_a_url_can_be_listened_at_again(self, listen_url: str) -> None:
        """At once, though the server closed first and connections of it linger."""
        url = listen_url
        for _round in range(3):
            with listen(url) as listener, self.joined(listener) as (client, server):
                url = listener.url
                server.close()
                check_same(b"", client.receive(), "received")

    def test_a_taken_url_is_refused(self, listen_url: str) -> None:
        """The second listener gets "address already in use", the first goes on."""
        with listen(listen_url) as listener:
            for _attempt in range(2):
                with pytest.raises(ConnectError, match="address already in use") as caught:
                    listen(listener.url).close()
                check(listener.url in str(caught.value), f"the error does not name the url: {caught.value}")
            speaking = in_background(lambda: _say(listener.url, b"x", self.deadline_s))
            heard = b""
            while not heard:
                # A transport that asks whether somebody is there leaves a connection behind that ends at once.
                with self.accept(listener) as server:
                    end = End(server)
                    self.drive(end, until=lambda: end.ended)  # noqa: B023 - called before the next round
                    heard = bytes(end.received)
            check_same(b"x", heard, "received")
            speaking.result(self.deadline_s)

    def test_many_connections_at_once(self, listen_url: str) -> None:
        """All are open at the same time, each gets its own bytes back."""
        everybody = threading.Barrier(self.connections)

        def ask(url: str, question: bytes) -> bytes:
            with connect(url, timeout_s=self.deadline_s) as stream:
                everybody.wait(self.deadline_s)
                stream.send_all(question)
                stream.close_writing()
                answer = b""
                while data := stream.receive():
                    answer += data
                return answer

        questions = [b"%d" % number for number in range(self.connections)]
        with listen(listen_url, backlog=2 * self.connections) as listener:
            asking = [in_background(functools.partial(ask, listener.url, question)) for question in questions]
            serve_echo(listener, lambda: all(future.done() for future in asking), 3 * self.deadline_s)
        check_same(questions, [future.result() for future in asking], "answers")


def _say(url: str, data: bytes, timeout_s: float) -> None:
    with connect(url, timeout_s=timeout_s) as stream:
        stream.send_all(data)
