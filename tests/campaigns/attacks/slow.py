"""Attacks that take their time: slow-loris, byte drip, readers that do not read."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bets_protocol import NEED_DATA, ServerConnection
from tests.campaigns.attacks.legitimate import connected, exactly
from tests.campaigns.attacks.scene import CUT_SLACK_S, Scene, check_cuts, check_memory
from tests.campaigns.attacks.watch import KB, MB, cpu_s, rss_bytes, sockets
from tests.e2e.processes import wait_until
from tests.server.wire import WINNING, ask, batch, bet, bets

LORIS = 1000


def _client_hello(authority: str) -> bytes:
    """How a handshake begins."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=authority).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def _loris(scene: Scene, *, tls: bool, orders: dict[str, object], within_s: float, count: int = LORIS) -> None:
    """So many connections, a byte each five seconds; the honest client works on."""
    files = scene.agency_files(1) if tls else ()
    honest = scene.honest(tls=files)
    before = scene.rest()
    with scene.watch() as watch:
        usual = rss_bytes(scene.server.pid)
        began = time.monotonic()
        mob = scene.mob(count=count, rate=1000.0, **orders)
        tale = mob.done(60)
        attacked = (began, time.monotonic())
        scene.note(check_cuts(tale.ages, count, within_s))
        scene.note(check_memory(usual, watch.highest_rss(began), 64 * MB, f"{count} slow connections"))
    if tale.shaken:
        scene.note(f"{tale.shaken} handshakes")
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    if not tls:
        scene.probe(1.0)
    scene.stop(lines_at_most=3 * count + 100, nothing_else_stored=True)


def slow_loris(scene: Scene) -> None:
    """A message that never ends, at a byte every five seconds."""
    scene.serve()
    _loris(scene, tls=False, orders={"drip": batch(bet(1)).hex()}, within_s=10)


def slow_handshake(scene: Scene) -> None:
    """A handshake that never ends."""
    scene.serve(tls=True)
    hello = _client_hello(str(scene.authority.ca))
    _loris(scene, tls=True, orders={"drip": hello.hex()}, within_s=10)


def slow_behind_tls(scene: Scene) -> None:
    """A handshake as it should be, and then a message that never ends."""
    scene.serve(tls=True)
    files = scene.agency_files(2)
    _loris(scene, tls=True, orders={"drip": batch(bet(1)).hex(), "tls": files}, within_s=10)


def byte_drip(scene: Scene) -> None:
    """Sixteen peers send frames of 255 bets, each byte in a segment of its own, as fast as it goes."""
    scene.serve()
    frame = drip_frame()
    honest = scene.honest()
    before = scene.rest()
    with scene.watch() as watch:
        usual, began = rss_bytes(scene.server.pid), time.monotonic()
        # 4,000 segments a second: what one that sends from afar can do, and no more than this machine has to spare.
        mob = scene.mob(count=16, drip=frame.hex(), period_s=0.004, reads=True)
        time.sleep(scene.seconds)
        attacked = (began, time.monotonic())
        mob.ended()
        scene.note(check_memory(usual, watch.highest_rss(began), 8 * MB, "16 dripping connections"))
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    scene.note(drip_costs(scene, frame))
    scene.probe(1.0)
    scene.stop(lines_at_most=200)


def drip_frame() -> bytes:
    """255 bets of agency 2 in one frame."""
    return batch(*[bet(row, agency=2, first_name=b"A", last_name=b"B") for row in range(255)])


def drip_costs(scene: Scene, frame: bytes) -> str:
    """What a frame costs in one piece and byte by byte, in processor time: the server, and its parser alone, in here.

    A segment costs a turn of the loop and a system call, whoever serves, so what the whole server needs is compared
    with lines of text that drip as many bytes; and the parser with as many calls that bring it nothing.
    """
    with contextlib.closing(connected(scene.port)) as sock:
        whole_ms = _spent_ms(scene, lambda: _exchange(sock, [frame]), 50)
        dripped_ms = _spent_ms(scene, lambda: _exchange(sock, _in_bytes(frame)), 3)
    line = b"x" * (len(frame) // 7 - 1) + b"\n"
    lines_ms = _spent_ms(scene, lambda: _drip_line(scene, line), 7) * 7
    parsed_ms, idle_ms, at_once_ms = _parser_ms(frame)
    assert parsed_ms <= 5 * idle_ms, f"parsing byte by byte takes {parsed_ms:.1f} ms, {idle_ms:.1f} ms with nothing new"
    assert dripped_ms <= 5 * lines_ms, f"a dripping frame costs {dripped_ms:.1f} ms, as much text {lines_ms:.1f} ms"
    return (
        f"server CPU a frame: whole {whole_ms:.2f} ms, dripped {dripped_ms:.0f} ms, as much text dripped "
        f"{lines_ms:.0f} ms; parser alone: {at_once_ms:.3f}, {parsed_ms:.1f}, as many idle calls {idle_ms:.1f} ms"
    )


def _spent_ms(scene: Scene, action: Callable[[], None], times: int) -> float:
    before = cpu_s(scene.server.pid)
    for _ in range(times):
        action()
    return (cpu_s(scene.server.pid) - before) / times * 1000


def _in_bytes(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def _exchange(sock: socket.socket, pieces: Sequence[bytes]) -> None:
    _drip(sock, pieces)
    assert exactly(sock, 1) == b"\xff"


def _drip_line(scene: Scene, line: bytes) -> None:
    with contextlib.closing(connected(scene.port)) as sock:
        _drip(sock, _in_bytes(line))
        assert exactly(sock, len(line)) == line


def _drip(sock: socket.socket, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        sock.sendall(piece)
        if len(pieces) > 1:
            time.sleep(0.000_1)  # so that the server takes each by itself


def _parser_ms(frame: bytes) -> tuple[float, float, float]:
    """Processor time of the parser for a frame byte by byte, for as many calls without news, and for all at once."""

    def spent_ms(pieces: Sequence[bytes], times: int, *, fed: bool = True) -> float:
        best = float("inf")
        for _ in range(times):
            connection = ServerConnection(encoded=True)
            began = time.process_time()
            for piece in pieces:
                if fed:
                    connection.receive_data(piece)
                event = connection.next_event()
            best = min(best, time.process_time() - began)
            assert (event is not NEED_DATA) == fed
        return best * 1000

    return spent_ms(_in_bytes(frame), 10), spent_ms(_in_bytes(frame), 10, fed=False), spent_ms([frame], 100)


READERS = 64
MOST_WINNERS = 65_535
BETS_A_BATCH = 200


def never_reads(scene: Scene) -> None:
    """Peers ask for half a megabyte of winners, three times each, and read nothing."""
    _unread(scene)


def sips(scene: Scene) -> None:
    """They read, a hundred bytes a second: a tenth of the least that is served."""
    _unread(scene, sip=100, period_s=1.0)


def _unread(scene: Scene, **orders: object) -> None:
    scene.serve("--agencies", "2", "--winning-number", str(WINNING), "--max-per-agency", "100")
    _make_draw(scene)
    honest = scene.honest(asks=True, agency=2)
    before = scene.rest()
    with scene.watch() as watch:
        usual, connections, since = rss_bytes(scene.server.pid), sockets(scene.server.pid), time.monotonic()
        asked = (ask(1) * 3).hex()
        mob = scene.mob(count=READERS, opening=asked, reads=False, receive_buffer=2048, ends_alone=False, **orders)
        wait_until(lambda: sockets(scene.server.pid) > connections, "the readers are there", 10)
        began = time.monotonic()
        wait_until(lambda: sockets(scene.server.pid) == connections, "the readers are cut", 15)
        took = time.monotonic() - began
        attacked = (since, time.monotonic())
        scene.note(f"{READERS} cut within {took:.1f} s")
        # What is taken buys time: at a hundred bytes a second a tenth more.
        assert took <= (11 if orders else 10) + CUT_SLACK_S, f"the last reader was cut after {took:.1f} s"
        scene.note(check_memory(usual, watch.highest_rss(since), READERS * 64 * KB, f"{READERS} readers"))
        scene.note(f"kernel: {_orphans()} orphans")
        mob.ended()
    after = scene.rest()
    scene.judge(honest, [before, after], [attacked])
    scene.probe(1.0)
    scene.stop(lines_at_most=3 * READERS + 100)


def _make_draw(scene: Scene) -> None:
    """Agency 1 has as many winners as one answer holds, agency 2 has one; each has been told so once."""
    with contextlib.closing(connected(scene.port)) as sock:
        for start in range(0, MOST_WINNERS, BETS_A_BATCH):
            rows = range(start, min(start + BETS_A_BATCH, MOST_WINNERS))
            sock.sendall(batch(*bets(rows, number=WINNING)))
            assert exactly(sock, 1)[0] == len(rows)
        sock.sendall(batch(bet(1, agency=2, number=WINNING)) + ask(2))
        assert exactly(sock, 1) == b"\x01"
        with contextlib.closing(connected(scene.port)) as other:
            other.sendall(ask(1))
            assert exactly(sock, 10)[:2] == b"\0\x01"
            for _ in range(2):
                assert exactly(other, 2) == b"\xff\xff"
                exactly(other, 8 * MOST_WINNERS)
                other.sendall(ask(1))
            exactly(other, 2 + 8 * MOST_WINNERS)


def _orphans() -> int:
    """TCP connections of this machine that no process has any more and that still hold something."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split("orphan ")[1].split()[0])
    return 0
