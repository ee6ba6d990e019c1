"""Mistakes that both type checkers must find, each on its line.

Nothing runs this file: `nox -s types` reads it. A comment that ignores an error where there is none is an error itself
(mypy: warn_unused_ignores; basedpyright: reportUnnecessaryTypeIgnoreComment), so a mistake that is no longer found
fails the session. The code in brackets is mypy's.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from bets_protocol import (
    Ack,
    Bet,
    BetBatch,
    ClientConnection,
    ServerConnection,
    Winners,
    WinnersRequest,
    decode,
    encode,
)
from bets_protocol.testing.pair import ConnectionPair
from bets_protocol.transports import Listener, Stream, Url, connect, register_transport


def messages(bet: Bet, batch: BetBatch) -> None:
    """Fields are named, typed and frozen."""
    Ack(1)  # type: ignore[call-arg]
    Ack(count="1")  # type: ignore[arg-type]
    Ack()  # type: ignore[call-arg]
    Winners(documents=[30904465])  # type: ignore[list-item]
    BetBatch(bets=bet)  # type: ignore[arg-type]
    bet.number = 7  # type: ignore[misc]
    batch.bets.append(bet)  # type: ignore[attr-defined]


def whole_messages(bet: Bet) -> Bet:
    """Bytes are no text, and no message is another one."""
    encode(b"bet")  # type: ignore[arg-type]
    encode(bet, 8)  # type: ignore[call-arg]
    decode(Bet, "text")  # type: ignore[arg-type]
    decode("Bet", b"")  # type: ignore[arg-type]
    return decode(BetBatch, b"")  # type: ignore[return-value]


def connections(stream: Stream, batch: BetBatch) -> None:
    """A client says no answers, a server asks nothing, and an event may be a signal."""
    client = ClientConnection(revision=9)
    server = ServerConnection()
    client.send(Ack(count=1))  # type: ignore[arg-type]
    server.send(batch)  # type: ignore[arg-type]
    client.receive_data(stream.receive())  # type: ignore[arg-type]
    print(server.next_event().line)  # type: ignore[union-attr]
    ClientConnection(9)  # type: ignore[call-arg]


def transports(stream: Stream, url: Url) -> None:
    """What a stream gives may be nothing, what it takes is bytes, and a transport has both methods."""
    connect(1234)  # type: ignore[arg-type]
    connect(url, 1.0)  # type: ignore[call-arg]
    stream.send("text")  # type: ignore[arg-type]
    stream.receive().decode()  # type: ignore[union-attr]
    register_transport("half", Half())  # type: ignore[arg-type]
    Stream()  # type: ignore[abstract]
    Listener()  # type: ignore[abstract]


class Half:
    """A transport that cannot listen."""

    def connect(self, url: Url, timeout_s: float) -> Stream:
        raise NotImplementedError


def testing() -> None:
    """The pair sends what each end may say."""
    pair = ConnectionPair()
    pair.server_says(WinnersRequest(agency=1))  # type: ignore[arg-type]
    pair.client_says(Ack(count=1))  # type: ignore[arg-type]
    ConnectionPair(cut="byte by byte")  # type: ignore[arg-type]
