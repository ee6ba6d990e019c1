"""A server of all revisions in memory, small enough to be broken in one way at a time by a subclass.

It is right; each subclass in `wrong_servers` overrides one method and is wrong in what that does.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib

from bets_protocol import (
    CLOSED,
    NEED_DATA,
    Ack,
    Bet,
    BetBatch,
    InvalidFrame,
    OpenUpload,
    Probe,
    RejectCode,
    RemoteProtocolError,
    ServerConnection,
    UploadStatus,
    Winners,
    WinnersRequest,
    encode_bets,
)

DEADLINE_S = 20.0
WINNING = 7574
MAX_UNFINISHED = 8
MAX_TOTAL = 10**12


class Upload:
    """What is stored of one upload, and which of its connections is the newest."""

    def __init__(self, opened: OpenUpload) -> None:
        self.opened = opened
        self.bets: list[Bet] = []
        self.epoch = 0


class Connection:
    """One client, on a thread of its own."""

    def __init__(self, server: TinyServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.protocol = ServerConnection(revision=server.revision)
        self.upload: Upload | None = None
        self.epoch = 0

    def serve(self) -> None:
        """Until the client or the protocol ends."""
        while True:
            data = self.sock.recv(65536)
            self.server.received(self, data)
            try:
                while (event := self.protocol.next_event()) is not NEED_DATA:
                    if event is CLOSED:
                        if data and self.server.goes_on():
                            break
                        return
                    if not self.server.react(self, event):
                        return
            except RemoteProtocolError as error:
                if not self.server.refuse_frame(self, error):
                    return
            if not data:
                return

    def say(self, data: bytes) -> None:
        """Sends all of it."""
        self.sock.sendall(data)

    def status(self, code: RejectCode) -> bool:
        """Says how the upload stands; gives whether the connection goes on."""
        bets = self.upload.bets if self.upload else []
        status = UploadStatus(code=code, draw=self.server.draw, stored=len(bets), crc32=self.server.crc32(self.upload))
        self.say(self.protocol.send(status))
        return code in (RejectCode.OK, RejectCode.INCOMPLETE, RejectCode.DRAWN)


class TinyServer:
    """A server on a free port.

    Args:
        revision: 5, 6 or 9.
        agencies: how many must ask.
    """

    def __init__(self, *, revision: int = 9, agencies: int = 2) -> None:
        self.revision = revision
        self.agencies = agencies
        self.draw = 1
        self.bets: list[Bet] = []
        self.uploads: dict[tuple[int, bytes], Upload] = {}
        self.plain: set[int] = set()
        self.sealed: set[int] = set()
        self.drawn = False
        self.changed = threading.Condition()
        self.stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            Connection(self, sock).serve()
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(0.2)
            while sock.recv(65536):  # so that no reset overtakes the last answer
                pass

    def close(self) -> None:
        """Ends everything."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    # -- what subclasses break

    def received(self, client: Connection, data: bytes) -> None:
        """Bytes have come."""
        client.protocol.receive_data(data)

    def refuse_frame(self, client: Connection, error: RemoteProtocolError) -> bool:  # noqa: ARG002 - for subclasses
        """A framing error; gives whether the connection goes on."""
        client.say(client.protocol.refuse())
        return False

    def react(self, client: Connection, event: object) -> bool:
        """A whole message; gives whether the connection goes on."""
        with self.changed:
            match event:
                case Probe():
                    self.echo(client, event)
                    return False
                case InvalidFrame():
                    return self.refuse_value(client, event)
                case OpenUpload():
                    return self.open(client, event)
                case Bet():
                    return self.store(client, (event,)) and self.goes_on()
                case BetBatch(bets=bets):
                    return self.store(client, bets) and self.goes_on()
                case WinnersRequest(agency=agency):
                    return self.ask(client, agency)
        raise TypeError(type(event))

    def goes_on(self) -> bool:
        """Whether a connection takes a second message."""
        return self.revision >= 7

    def echo(self, client: Connection, probe: Probe) -> None:
        """A probe."""
        client.say(client.protocol.send(probe))

    def refuse_value(self, client: Connection, event: InvalidFrame) -> bool:
        """A value error."""
        if client.protocol.uploads:
            return client.status(RejectCode.BAD_FRAME if event.kind is OpenUpload else RejectCode.BAD_BET)
        client.say(client.protocol.send(Ack(count=0)))
        return self.goes_on()

    def acknowledge(self, client: Connection, count: int) -> None:
        """Bets were stored without an upload."""
        client.say(client.protocol.send(Ack(count=count)))

    def open(self, client: Connection, message: OpenUpload) -> bool:
        """An upload."""
        code = self.verdict_on_open(message)
        if code is RejectCode.OK:
            client.upload = self.uploads.setdefault(self.name_of(message), Upload(message))
            client.upload.epoch += 1
            client.epoch = client.upload.epoch
        return client.status(code)

    def name_of(self, message: OpenUpload) -> tuple[int, bytes]:
        """What makes an upload the one that it is, within the draw."""
        return message.agency, message.upload_id

    def verdict_on_open(self, message: OpenUpload) -> RejectCode:
        """Whether an upload may be opened."""
        known = self.uploads.get(self.name_of(message))
        if message.draw != self.draw:
            return RejectCode.WRONG_DRAW
        if known is not None and known.opened.total != message.total:
            return RejectCode.MISMATCH
        if known is not None and len(known.bets) == message.total:
            return self.verdict_on_finished()
        if self.drawn:
            return RejectCode.DRAW_CLOSED
        if message.agency in self.sealed:
            return RejectCode.SEALED
        if message.agency in self.plain:
            return RejectCode.MODE_CONFLICT
        too_many = known is None and len(self.unfinished(message.agency)) >= MAX_UNFINISHED
        return RejectCode.LIMIT if too_many or message.total > MAX_TOTAL else RejectCode.OK

    def verdict_on_finished(self) -> RejectCode:
        """Whether an upload may be opened that has all its bets."""
        return RejectCode.OK

    def store(self, client: Connection, bets: tuple[Bet, ...]) -> bool:
        """A batch."""
        if client.upload is None:
            if self.is_over() or any(bet.agency in self.sealed or self.has_uploads(bet.agency) for bet in bets):
                self.refuse_sealed(bets)
                client.say(client.protocol.send(Ack(count=0)))
                return True
            self.bets += bets
            self.plain |= {bet.agency for bet in bets}
            self.acknowledge(client, len(bets))
            return True
        code = self.verdict_on_batch(client, client.upload, bets)
        if code is RejectCode.OK:
            client.upload.bets += bets
            self.bets += bets
        return client.status(code)

    def is_over(self) -> bool:
        """Whether the draw has taken place, so that nobody's bets are taken."""
        return self.drawn

    def refuse_sealed(self, bets: tuple[Bet, ...]) -> None:
        """Bets of an agency that is sealed: nothing is done with them."""

    def has_uploads(self, agency: int) -> bool:
        """Whether an agency hands its bets in by uploads."""
        return any(upload.opened.agency == agency for upload in self.uploads.values())

    def verdict_on_batch(self, client: Connection, upload: Upload, bets: tuple[Bet, ...]) -> RejectCode:
        """Whether a batch of an upload may be stored."""
        if client.epoch != upload.epoch:
            return RejectCode.FENCED
        if self.is_over():
            return RejectCode.DRAW_CLOSED
        if any(bet.agency != upload.opened.agency for bet in bets):
            return RejectCode.NOT_AUTHORIZED
        if len(upload.bets) + len(bets) > upload.opened.total:
            return RejectCode.OVERRUN
        return RejectCode.OK

    def crc32(self, upload: Upload | None) -> int:
        """Over what is stored of an upload."""
        return zlib.crc32(encode_bets(upload.bets)) if upload else 0

    def is_incomplete(self, agency: int) -> bool:
        """Whether an upload of an agency is unfinished."""
        return bool(self.unfinished(agency))

    def unfinished(self, agency: int) -> list[Upload]:
        """Uploads of an agency that lack bets."""
        mine = [upload for upload in self.uploads.values() if upload.opened.agency == agency]
        return [upload for upload in mine if len(upload.bets) < upload.opened.total]

    def seal(self, agency: int) -> None:
        """An agency has asked."""
        self.sealed.add(agency)
        self.drawn = self.drawn or self.sealed >= set(range(1, self.agencies + 1))
        self.changed.notify_all()

    def may_tell(self) -> bool:
        """Whether winners are known."""
        return self.drawn

    def winners_of(self, agency: int) -> list[str]:
        """The winners of an agency."""
        return [bet.document for bet in self.bets if bet.agency == agency and bet.number == WINNING]

    def ask(self, client: Connection, agency: int) -> bool:
        """A request for winners."""
        if client.upload is not None and agency != client.upload.opened.agency:
            return client.status(RejectCode.NOT_AUTHORIZED)
        if self.is_incomplete(agency):
            return client.upload is not None and client.status(RejectCode.INCOMPLETE)
        self.seal(agency)
        if client.upload is not None and not self.drawn:
            client.status(RejectCode.OK)
        self.changed.wait_for(lambda: self.may_tell() or self.stopping, DEADLINE_S)
        if self.stopping:
            return False
        if client.upload is not None:
            client.status(RejectCode.DRAWN)
        client.say(client.protocol.send(Winners(documents=self.winners_of(agency))))
        return True
