"""What a server must say and store, written again in few words: the oracle of the target `sessions`.

A `World` is a book and the peers that talk to it. Each event changes it and adds to what every peer is owed, as bytes.
It takes one event at a time; where events race, whoever uses it tries each order on a copy. It knows the wire from
docs/protocol.md and uses nothing of the codec, the connections, the handlers or the stores.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import zlib

import attrs

from tests.server.wire import ACK_0, WINNING

DRAW = 1
AGENCIES = 2
"""The draw waits for agencies 1 and 2; there are others, too."""

_OK, _BAD_FRAME, _BAD_BET, _NOT_AUTHORIZED, _FENCED, _MISMATCH, _OVERRUN, _SEALED, _DRAW_CLOSED, _INCOMPLETE = range(10)
_LIMIT, _SHUTTING_DOWN, _WRONG_DRAW, _MODE_CONFLICT, _DRAWN = 12, 13, 14, 15, 16
_MAX_TOTAL = 2**63 - 1


class Phase(enum.Enum):
    """What a peer is in the middle of."""

    START = enum.auto()
    PLAIN = enum.auto()
    UPLOAD = enum.auto()
    ENDED = enum.auto()


@attrs.define
class Upload:
    """An upload in the book; `total` is None for the bets that came without one."""

    agency: int
    name: bytes | None
    total: int | None
    bets: list[bytes] = attrs.Factory(list)
    epoch: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing of it is missing."""
        return self.total is not None and len(self.bets) == self.total

    @property
    def crc32(self) -> int:
        """Over its bets."""
        return zlib.crc32(b"".join(self.bets))


@attrs.define
class Peer:
    """A connection.

    Attributes:
        owed: every byte that the server must have said on it.
        upload: the index of the one that it has open.
        epoch: of that opening.
        waits: for the winners of this agency.
    """

    phase: Phase = Phase.START
    owed: bytes = b""
    upload: int | None = None
    epoch: int = 0
    waits: int | None = None
    last: tuple[int, int, int] = (0, 0, 0)  # draw, stored and CRC-32 of the last status


@attrs.define
class World:
    """The book and the peers."""

    peers: list[Peer] = attrs.Factory(list)
    uploads: list[Upload] = attrs.Factory(list)
    stored: list[bytes] = attrs.Factory(list)  # all bets in order
    sealed: set[int] = attrs.Factory(set)
    drawn: bool = False

    # -- what peers do

    def open(self, peer: Peer, *, agency: int, draw: int, total: int, name: bytes) -> None:
        """OpenUpload."""
        if peer.phase is not Phase.START:
            self.break_protocol(peer)
            return
        peer.phase = Phase.UPLOAD
        if draw != DRAW:
            self._end(peer, _WRONG_DRAW, (DRAW, 0, 0))
            return
        index = next((i for i, u in enumerate(self.uploads) if (u.agency, u.name) == (agency, name)), None)
        known = None if index is None else self.uploads[index]
        code = self._opening_code(known, agency, total)
        if code == _OK and known is None:
            index, known = len(self.uploads), Upload(agency, name, total)
            self.uploads.append(known)
        numbers = (DRAW, 0, 0) if known is None else (DRAW, len(known.bets), known.crc32)
        if code != _OK or known is None:
            self._end(peer, code, numbers)
            return
        known.epoch += 1
        peer.upload, peer.epoch = index, known.epoch
        self._status(peer, _OK, numbers)
        for other in self.peers:
            if other is not peer and other.upload == index and other.phase is Phase.UPLOAD:
                self._end(other, _FENCED, other.last)

    def _opening_code(self, known: Upload | None, agency: int, total: int) -> int:
        if known is not None and known.total != total:
            return _MISMATCH
        if known is not None and known.finished:
            return _OK
        if self.drawn:
            return _DRAW_CLOSED
        if agency in self.sealed:
            return _SEALED
        if any(u.agency == agency and u.total is None for u in self.uploads):
            return _MODE_CONFLICT
        return _LIMIT if known is None and total > _MAX_TOTAL else _OK

    def batch(self, peer: Peer, bets: list[tuple[int, bytes]]) -> None:
        """A sound batch; each bet with its agency."""
        if peer.phase is Phase.UPLOAD:
            self._upload_batch(peer, bets)
            return
        peer.phase = Phase.PLAIN
        agencies = {agency for agency, _ in bets}
        identified = {u.agency for u in self.uploads if u.total is not None}
        if self.drawn or agencies & (self.sealed | identified):
            peer.owed += ACK_0
            return
        for agency, bet in bets:
            found = [u for u in self.uploads if u.agency == agency]
            if not found:
                found = [Upload(agency, None, None)]
                self.uploads += found
            found[0].bets.append(bet)
            self.stored.append(bet)
        peer.owed += bytes([len(bets)])

    def _upload_batch(self, peer: Peer, bets: list[tuple[int, bytes]]) -> None:
        assert peer.upload is not None
        upload = self.uploads[peer.upload]
        if any(agency != upload.agency for agency, _ in bets):
            self._end(peer, _NOT_AUTHORIZED, peer.last)
            return
        code = _OK
        if self.drawn:
            code = _DRAW_CLOSED
        elif upload.agency in self.sealed:
            code = _SEALED
        elif upload.total is not None and len(upload.bets) + len(bets) > upload.total:
            code = _OVERRUN
        if code == _OK:
            upload.bets += [bet for _, bet in bets]
            self.stored += [bet for _, bet in bets]
            self._status(peer, _OK, (DRAW, len(upload.bets), upload.crc32))
        else:
            self._end(peer, code, (DRAW, len(upload.bets), upload.crc32))

    def ask(self, peer: Peer, agency: int) -> None:
        """WinnersRequest."""
        if peer.phase is Phase.UPLOAD:
            assert peer.upload is not None
            if agency != self.uploads[peer.upload].agency:
                self._end(peer, _NOT_AUTHORIZED, peer.last)
                return
        else:
            peer.phase = Phase.PLAIN
        if not self.drawn:
            unfinished = any(u.agency == agency and u.total is not None and not u.finished for u in self.uploads)
            if agency not in self.sealed and unfinished:
                if peer.upload is None:
                    peer.phase = Phase.ENDED  # plain revisions have no word for it
                else:
                    self._status(peer, _INCOMPLETE, peer.last)
                return
            self.sealed.add(agency)
            self.drawn = self.sealed >= set(range(1, AGENCIES + 1))
            if not self.drawn:
                peer.waits = agency
                if peer.upload is not None:
                    self._status(peer, _OK, peer.last)
                return
        self._tell_winners(peer, agency)
        for other in self.peers:
            if other.waits is not None and other.phase is not Phase.ENDED:
                self._tell_winners(other, other.waits)
                other.waits = None

    def bad_value(self, peer: Peer) -> None:
        """A batch with a value that its rule forbids."""
        if peer.phase is Phase.UPLOAD:
            self._end(peer, _BAD_BET, peer.last)
        else:
            peer.phase = Phase.PLAIN
            peer.owed += ACK_0

    def break_protocol(self, peer: Peer) -> None:
        """Bytes that are no message, or one out of turn."""
        if peer.phase is Phase.UPLOAD:
            self._end(peer, _BAD_FRAME, peer.last)
        else:
            peer.owed += ACK_0
            peer.phase = Phase.ENDED

    def probe(self, peer: Peer, line: bytes) -> None:
        """A line of text."""
        if peer.phase is Phase.UPLOAD:
            self.break_protocol(peer)
        else:
            peer.owed += line
            peer.phase = Phase.ENDED

    def end(self, peer: Peer) -> None:
        """The end of the peer's side, between two messages."""
        peer.phase = Phase.ENDED

    def stop(self) -> None:
        """The server stops in good order."""
        for peer in self.peers:
            if peer.phase is Phase.UPLOAD:
                self._end(peer, _SHUTTING_DOWN, peer.last)
            peer.phase = Phase.ENDED

    # -- what they are told

    def winners(self, agency: int) -> list[bytes]:
        """The documents of an agency's winners, in the order of storing."""
        return [bet[-20:-12] for bet in self.stored if bet[2] == agency and bet[-2:] == struct.pack(">H", WINNING)]

    @property
    def digest(self) -> str:
        """Over all bets, once they are drawn from."""
        return hashlib.sha256(b"".join(self.stored)).hexdigest() if self.drawn else ""

    def _tell_winners(self, peer: Peer, agency: int) -> None:
        if peer.upload is not None:
            self._status(peer, _DRAWN, peer.last)
        documents = self.winners(agency)
        peer.owed += struct.pack(">H", len(documents)) + b"".join(documents)

    def _status(self, peer: Peer, code: int, numbers: tuple[int, int, int]) -> None:
        peer.last = numbers
        peer.owed += struct.pack(">BBIQI", 0x83, code, *numbers)

    def _end(self, peer: Peer, code: int, numbers: tuple[int, int, int]) -> None:
        self._status(peer, code, numbers)
        peer.phase = Phase.ENDED
        peer.waits = None
