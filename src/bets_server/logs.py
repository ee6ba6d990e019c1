"""The log lines of the server: one method for each event, with the keywords of docs/operations.md.

A document and a number are only in the one line in which scripts expect them. An error says where it is and what was
expected, never what was found, because that may be personal data.
"""

from __future__ import annotations

import logging

from bets_protocol import (
    Bet,
    BetBatch,
    EncodedBatch,
    InvalidFrame,
    OpenUpload,
    RemoteProtocolError,
    WinnersRequest,
    decode_bets,
)
from bets_protocol.cli.log_format import EventLog
from bets_protocol.transports import first_bytes_explained


class ServerLog:
    """Writes the server's events to an `EventLog`.

    Thread: any.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def started(self, *, port: int, backlog: int, level: str, urls: list[str]) -> None:
        """Log the settings, and that connections are accepted from now on."""
        self._events.success(
            "config",
            level=logging.DEBUG,
            port=port,
            listen_backlog=backlog,
            logging_level=level,
            listen=" ".join(urls),
        )
        self._events.progress("accept_connections")

    def plain_listener(self, url: str) -> None:
        """Log a listener that other machines can reach and that is not encrypted."""
        self._events.success(
            "open_listener", level=logging.WARNING, url=url, warning="reachable from outside and not encrypted"
        )

    def accepted(self, ip: str, *, level: int = logging.INFO) -> None:
        """Log a new connection."""
        self._events.success("accept_connections", level=level, ip=ip)

    def refused(self, action: str, ip: str, error: str, *, repeated: int = 0) -> None:
        """Log that a peer was refused or disconnected; with `repeated`, that it was so many times more."""
        fields: dict[str, object] = {"repeated": repeated} if repeated else {}
        self._events.fail(action, level=logging.WARNING, ip=ip, error=error, **fields)

    def hold(self) -> None:
        """Keep lines back until `write_held`, because peers wait for answers and nobody waits for a line."""
        self._events.hold()

    def write_held(self) -> None:
        """Write the lines that were kept back, and the next ones at once."""
        self._events.write_held()

    def accept_failed(self, error: Exception) -> None:
        """Log that no connection can be accepted for now."""
        self._events.fail("accept_connections", error=error)

    def probed(self, ip: str, line: bytes, *, level: int = logging.INFO) -> None:
        """Log that a probe was sent back, with a warning if it is the PROXY header of a balancer."""
        explained = first_bytes_explained(line) if line.startswith(b"PROXY ") else ""
        self._events.success(
            "receive_message",
            level=logging.WARNING if explained else level,
            ip=ip,
            msg=line.removesuffix(b"\n").removesuffix(b"\r"),
            **({"warning": explained} if explained else {}),
        )

    def opened(self, ip: str, request: OpenUpload, stored: int, error: str) -> None:
        """Log that an upload was opened, or with an `error` that it was refused."""
        agency, total = request.agency, request.total
        if error:
            self._events.fail("open_upload", ip=ip, agencia=agency, total=total, error=error)
        else:
            self._events.success("open_upload", ip=ip, agencia=agency, total=total, stored=stored)

    def answered(
        self,
        ip: str,
        request: EncodedBatch | InvalidFrame | WinnersRequest,
        error: str,
        *,
        revision: int,
        level: int = logging.ERROR,
    ) -> None:
        """Log that a request was carried out, or with an `error` that it was refused.

        Args:
            level: of the line about refused winners.
        """
        match request:
            case EncodedBatch() if not error:
                self._stored(request, batched=revision != 5)
            case EncodedBatch(count=count):
                self._refused(count, error)
            case InvalidFrame(kind=kind, count=count) if kind is BetBatch or kind is Bet:
                self._refused(count, error)
            case InvalidFrame(kind=kind) if kind is OpenUpload:
                self._events.fail("open_upload", ip=ip, error=error)
            case _ if error:
                self._events.fail("consulta_ganadores", level=level, ip=ip, error=error)

    def _stored(self, batch: EncodedBatch, *, batched: bool) -> None:
        """Log that a batch is on disk. A single bet has its own line."""
        if batch.count == 1:
            (bet,) = decode_bets(batch.runs[0].encoded)
            self._events.success("apuesta_almacenada", dni=bet.document, numero=bet.number)
        if batched:
            self._events.success("apuesta_recibida", cantidad=batch.count)

    def _refused(self, count: int, error: str) -> None:
        self._events.fail("apuesta_recibida", cantidad=count, error=error)

    def bad_frame(self, ip: str, error: RemoteProtocolError, head: bytes = b"", *, level: int = logging.ERROR) -> None:
        """Log that a peer broke the protocol, so that it is answered and its connection closed.

        Args:
            head: the first bytes of the connection.
        """
        explained = first_bytes_explained(head)
        text = error.summary + (f": {explained}" if explained else "")
        self._events.fail("receive_message", level=level, ip=ip, error=text)

    def sealed_in_vain(self, agency: int, *, expected: int) -> None:
        """Log that an agency has asked for its winners though the draw does not wait for it."""
        self._events.success(
            "consulta_ganadores",
            level=logging.WARNING,
            agencia=agency,
            warning=f"the draw waits for agencies 1 to {expected}",
        )

    def drawn(self) -> None:
        """Log that the draw has taken place."""
        self._events.success("sorteo")

    def serves_after_draw(self, quiet_s: float) -> None:
        """Log that the server was started after its draw, and stops when no agency asks for winners any more."""
        self._events.progress("exit_after_draw", timeout=f"{quiet_s:g}")

    def certificate_is_out_of_date(self, file: str, warning: str) -> None:
        """Log that the server's own certificate has expired, soon will, or is not valid yet."""
        self._events.success("check_certificate", level=logging.WARNING, file=file, warning=warning)

    def reloaded(self) -> None:
        """Log that the certificates were read again."""
        self._events.success("reload_certificates")

    def nothing_to_reload(self) -> None:
        """Log that SIGHUP came and no listener uses certificates."""
        self._events.success(
            "reload_certificates", level=logging.WARNING, warning="there are none: no listener is encrypted"
        )

    def failed_to_reload(self, error: Exception) -> None:
        """Log that the new certificates cannot be used, so the server keeps the old ones."""
        self._events.fail("reload_certificates", error=error)

    def closed_connection(self, ip: str, *, level: int = logging.DEBUG) -> None:
        """Log that a connection was closed."""
        self._events.success("close_connection", level=level, ip=ip)

    def closed(self, what: str) -> None:
        """Log that a part of the server was closed at the stop."""
        self._events.success(f"close_{what}")

    def closed_listener(self, url: str) -> None:
        """Log that a listener was closed at the stop."""
        self._events.success("close_listener", url=url)

    def failed_to_close(self, what: str, error: str) -> None:
        """Log that a part of the server did not close in time."""
        self._events.fail(f"close_{what}", error=error)

    def restored(self, what: str, **where: str) -> None:
        """Log that the file of a socket was gone and was made again."""
        self._events.success(f"open_{what}", level=logging.WARNING, **where, warning="its file was gone: made anew")

    def not_restored(self, what: str, url: str, error: Exception) -> None:
        """Log that the file of a socket was gone and cannot be made again."""
        self._events.fail(f"open_{what}", level=logging.WARNING, url=url, error=error)

    def no_control(self, error: Exception) -> None:
        """Log that the server runs without a control socket."""
        self._events.fail("open_control", level=logging.WARNING, error=error)

    def commanded(self, command: str, arguments: str, *, change: bool, error: str = "") -> None:
        """Log that an operator's command was carried out, or with an `error` that it failed.

        Args:
            change: whether the command changes something, so that its line is at INFO.
        """
        level = logging.INFO if change else logging.DEBUG
        if error:
            self._events.fail("operator", level=level, command=command, arguments=arguments, error=error)
        else:
            self._events.success("operator", level=level, command=command, arguments=arguments)

    def store_upgraded(self, store: str, version: int) -> None:
        """Log that a store of an older format was brought up to date."""
        self._events.success("upgrade_store", store=store, from_version=version)

    def store_failed(self, error: Exception) -> None:
        """Log that the store failed. What is on disk is unknown, so no peer is answered and the process ends."""
        self._events.fail("store", error=error)

    def shut_down(self) -> None:
        """Log the last line."""
        self._events.success("shutdown")
