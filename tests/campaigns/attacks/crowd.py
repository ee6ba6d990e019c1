"""Many connections that mean no good, in one process: each says little, slowly, or nothing, and is watched for its end.

Each connection comes from an address of 127.0.0.0/8, so many from each, so that no limit for an address spares the
server the others. Ends by SIGTERM, or once every connection was cut, and then prints a `Tale` as JSON.

Usage: ``python -m tests.campaigns.attacks.crowd JSON``, the fields of `Orders`
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import json
import os
import resource
import select
import signal
import socket
import ssl
import sys
import time

import attrs


@attrs.frozen(kw_only=True)
class Orders:
    """What to do.

    Attributes:
        port: of the server, on 127.0.0.1.
        count: connections.
        network: of their addresses, 127.0.NETWORK.1 and on.
        per_address: how many come from each.
        rate: connections begun each second; 0: all at once.
        opening: what each sends at once, hexadecimal.
        drip: what each sends then, one byte each `period_s`, again and again, hexadecimal; empty: nothing.
        tls: paths of certificate, key and CA: the bytes go through TLS; empty: as they are.
        receive_buffer: bytes that the system may hold for each; 0: as usual.
        reads: takes what comes; else it is left where it is.
        sip: bytes that are taken nevertheless, each `period_s`; 0: none.
        expects: bytes that each waits for, and then counts as answered.
        again: a connection that was cut or refused is begun anew.
        gone: closed as soon as it is there.
        nice: how much less than others it may have of the processors.
        ends_alone: once every connection was cut or answered.
    """

    port: int
    count: int
    network: int = 1
    per_address: int = 64
    rate: float = 0.0
    opening: str = ""
    drip: str = ""
    period_s: float = 5.0
    tls: tuple[str, ...] = ()
    receive_buffer: int = 0
    reads: bool = True
    sip: int = 0
    expects: int = 0
    again: bool = False
    gone: bool = False
    nice: int = 19
    ends_alone: bool = True


@attrs.define(kw_only=True)
class Tale:
    """What came of it; times are monotonic seconds, which all processes share.

    Attributes:
        began, ended: the first connection, and the end of the last or of the order.
        connected: how many came about.
        ages: of those that were cut, seconds from their beginning to the cut.
        shaken: handshakes that came to their end.
        answered: connections that got what they expected.
        left: those that were still there.
        refused: those that never came about.
        answered_at: when the last was answered.
    """

    began: float = 0.0
    ended: float = 0.0
    connected: int = 0
    ages: list[float] = attrs.Factory(list)
    shaken: int = 0
    answered: int = 0
    left: int = 0
    refused: int = 0
    answered_at: float = 0.0


class _One:
    """One connection."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.sock = sock
        self.since = 0.0
        self.position = 0
        self.received = 0
        self.shaken = context is None
        if context is not None:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def shake(self) -> None:
        """Goes on with the handshake."""
        try:
            self.tls.do_handshake()
            self.shaken = True
        except ssl.SSLWantReadError:
            pass
        self._push()

    def say(self, data: bytes) -> None:
        """Sends bytes, encrypted where that is so."""
        if hasattr(self, "tls"):
            self.tls.write(data)
            self._push()
        else:
            self.sock.send(data)

    def _push(self) -> None:
        data = self.outgoing.read()
        if data:
            self.sock.send(data)


class Crowd:
    """All of them."""

    def __init__(self, orders: Orders) -> None:
        self.tale = Tale()
        self._orders = orders
        self._epoll = select.epoll()
        self._here: dict[int, _One] = {}
        self._due: list[tuple[float, int, _One]] = []
        self._begun, self._wanted = 0, orders.count
        self._opening, self._drip = bytes.fromhex(orders.opening), bytes.fromhex(orders.drip)
        self._context: ssl.SSLContext | None = None
        if orders.tls:
            cert, key, authority = orders.tls
            self._context = ssl.create_default_context(cafile=authority)
            if cert:
                self._context.load_cert_chain(cert, key)
        self.told_to_end = False

    def run(self) -> None:
        """Until all is over."""
        self.tale.began = time.monotonic()
        while not self.told_to_end and not (self._orders.ends_alone and self._done()):
            now = time.monotonic()
            self._begin(now)
            for descriptor, mask in self._epoll.poll(self._timeout(now)):
                one = self._here.get(descriptor)
                if one is not None:
                    self._look(one, mask, time.monotonic())
            self._send_due(time.monotonic())
        self.tale.ended = time.monotonic()
        self.tale.left = sum(one.since > 0 for one in self._here.values())
        self.tale.refused += len(self._here) - self.tale.left

    def _done(self) -> bool:
        return self._begun >= self._wanted and not self._here

    def _timeout(self, now: float) -> float:
        if self._begun < self._wanted:
            return 0.002
        return min(0.05, max(0.0, self._due[0][0] - now)) if self._due else 0.05

    def _begin(self, now: float) -> None:
        orders = self._orders
        wanted = min(self._wanted, int((now - self.tale.began) * orders.rate) + 1) if orders.rate else self._wanted
        for _ in range(min(200, wanted - self._begun)):
            sock = socket.socket()
            sock.setblocking(False)
            if orders.receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, orders.receive_buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = self._begun // orders.per_address % 250
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            sock.bind((f"127.0.{orders.network + self._begun // orders.per_address // 250}.{address + 1}", 0))
            self._begun += 1
            error = sock.connect_ex(("127.0.0.1", orders.port))
            if error not in (0, errno.EINPROGRESS):
                self.tale.refused += 1
                sock.close()
                continue
            self._here[sock.fileno()] = _One(sock, self._context)
            self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _look(self, one: _One, mask: int, now: float) -> None:
        try:
            if not one.since:
                if not self._come_about(one, now):
                    return
            elif mask & (select.EPOLLHUP | select.EPOLLERR) or not self._receive(one, now):
                self._gone(one, now)
        except ssl.SSLError:
            self._gone(one, now)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                self._gone(one, now)

    def _come_about(self, one: _One, now: float) -> bool:
        if one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.tale.refused += 1
            self._forget(one)
            return False
        one.since = now
        self.tale.connected += 1
        if self._orders.gone:
            self._forget(one)
            return False
        self._epoll.modify(one.sock.fileno(), select.EPOLLIN if self._orders.reads else 0)
        if one.shaken:
            self._start_talking(one, now)
        else:
            one.shake()
        return True

    def _start_talking(self, one: _One, now: float) -> None:
        if self._opening:
            one.say(self._opening)
        if self._drip or self._orders.sip:
            heapq.heappush(self._due, (now, one.sock.fileno(), one))

    def _receive(self, one: _One, now: float) -> bool:
        data = one.sock.recv(65536)
        one.received += len(data)
        if data and not one.shaken:
            one.incoming.write(data)
            one.shake()
            if one.shaken:
                self.tale.shaken += 1
                self._start_talking(one, now)
        if self._orders.expects and one.received >= self._orders.expects:
            self.tale.answered += 1
            self.tale.answered_at = now
            self._forget(one)
            return True
        return bool(data)

    def _send_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, descriptor, one = heapq.heappop(self._due)
            if self._here.get(descriptor) is not one:
                continue
            try:
                self._sip_and_drip(one)
            except OSError:
                self._gone(one, now)
                continue
            one.position += 1
            heapq.heappush(self._due, (max(at + self._orders.period_s, now), descriptor, one))

    def _sip_and_drip(self, one: _One) -> None:
        if self._drip:
            one.say(self._drip[one.position % len(self._drip) :][:1])
        if self._orders.sip:
            with contextlib.suppress(BlockingIOError):
                one.sock.recv(self._orders.sip)

    def _gone(self, one: _One, now: float) -> None:
        self.tale.ages.append(now - one.since)
        self._forget(one)
        if self._orders.again and not self.told_to_end:
            self._wanted += 1

    def _forget(self, one: _One) -> None:
        self._here.pop(one.sock.fileno(), None)
        one.sock.close()

    def close(self) -> None:
        """Ends what is left, all at once."""
        for one in list(self._here.values()):
            self._forget(one)
        self._epoll.close()


def main(text: str) -> None:
    """Does as it is told."""
    orders = Orders(**json.loads(text))
    os.nice(orders.nice)
    if orders.nice and hasattr(os, "SCHED_IDLE"):
        # As if on machines of their own: they run only while nobody else of this one wants to.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(orders)

    def end(_number: int, _frame: object) -> None:
        crowd.told_to_end = True

    signal.signal(signal.SIGTERM, end)
    print("at work", flush=True)
    with contextlib.closing(crowd):
        crowd.run()
    print(json.dumps(attrs.asdict(crowd.tale)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
