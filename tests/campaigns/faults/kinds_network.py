"""What happens on the way: answers lost, frames cut, connections half open, late frames, and everything at once."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from bets_protocol.testing.chaos import Plan, Way, drawn_plan
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.kinds_client import SMALL_BATCHES
from tests.campaigns.faults.raw_agency import RawAgency, batch_message, open_message, upload_id_of
from tests.campaigns.faults.stage import Stage
from tests.campaigns.faults.witness import FENCED, OK, STATUS_BYTES

ROUNDS = 10
FAULTS_FOR_S = 5.0


def answers_lost(folder: Path, seed: int) -> int:
    """From a random byte on the server's answers vanish, then the connection is reset; once to three times."""
    with Stage(folder, seed).opened() as stage:
        answers = STATUS_BYTES * (2 + len(stage.files[1].bets) // 10)
        for _ in range(stage.random.randint(1, 3)):
            at_byte = stage.random.randrange(answers)
            cut = at_byte + stage.random.choice([0, 1, 17, 18, 90, 180])
            stage.plans.append(Plan(to_client=Way(hole_at=at_byte, cut_at=cut), reset=stage.random.random() < 0.8))
        stage.start()
        stage.finish({1: stage.send(1, *SMALL_BATCHES)}, *SMALL_BATCHES)
    return 1


def cut_in_a_frame(folder: Path, seed: int) -> int:
    """A connection that ends after each number of bytes of an OpenUpload and a batch of three bets: nothing partial."""
    with Stage(folder, seed, bets=3).opened() as stage:
        server = stage.serve()
        bets = stage.files[1].bets
        size = len(open_message(1, bytes(16), 3) + batch_message(bets))
        for at_byte in range(size + 1):
            upload_id = upload_id_of(f"{seed}/{at_byte}")
            message = open_message(1, upload_id, 3) + batch_message(bets)
            with RawAgency(server.port) as dying:
                dying.send(message[:at_byte])
                if stage.random.random() < 0.5:
                    dying.reset()
                else:
                    dying.end()
            with RawAgency(server.port) as again:
                found = again.open(upload_id, 3)
                assert found.code == OK, f"cut at {at_byte} of {size}: {found}"
                if at_byte < size:
                    assert found.stored == 0, f"cut at {at_byte} of {size}: {found.stored} bets are stored"
                # A whole batch whose sender was reset may be stored or not.
                assert found.stored in (0, 3), f"a whole batch: {found.stored} bets are stored"
                assert found.crc32 == stage.files[1].crc32(found.stored)
                if not found.stored:
                    found = again.store(bets)
                assert (found.code, found.stored) == (OK, 3), f"cut at {at_byte} of {size}, sent again: {found}"
        book = stage.stop_server()
        assert [upload.bets for upload in book.uploads] == [bets] * len(book.uploads)
        assert len(book.uploads) == size + 1
        stage.check_outputs()
    return size + 1


def half_open(folder: Path, seed: int) -> int:
    """Both directions fall silent; the client comes back on a new connection while the server believes in the old one,
    whose frames may arrive late: they are refused."""
    with Stage(folder, seed).opened() as stage:
        late = stage.random.random() < 0.7
        size = sum(map(len, stage.files[1].bets))
        to_server = Way(hole_at=stage.random.randrange(200, size), late=late)
        to_client = Way(hole_at=stage.random.randrange(STATUS_BYTES, 60 * STATUS_BYTES), late=late)
        stage.plans.append(Plan(to_server=to_server, to_client=to_client))
        stage.start()
        client = stage.send(1, *SMALL_BATCHES, "--idle-timeout", "0.3")
        client.wait_until(lambda: stage.proxy.accepted >= 2 or not client.running, "another connection")
        if stage.random.random() < 0.5:
            client.expect()
        stage.proxy.stop_faults()
        stage.finish({1: client}, *SMALL_BATCHES)
        old, *newer = stage.witness.of_upload(*stage.witness.talks[0].opened or (0, b""))
        told = min([talk.statuses[0].stored for talk in newer if talk.statuses], default=len(stage.files[1].bets))
        promised = max([status.stored for status in old.statuses if status.code == OK], default=0)
        assert promised <= told, f"I2: the old connection was promised {promised} rows, the newer began at {told}"
    return 1


def late_frames(folder: Path, seed: int) -> int:
    """Two connections of one upload: whatever the older one sends, before, while or after the newer one opens, either
    counts in what the newer is told or is refused."""
    with Stage(folder, seed, bets=60).opened() as stage:
        server = stage.serve()
        for turn in range(ROUNDS):
            _late_round(stage, server.port, upload_id_of(f"{seed}/{turn}"))
        book = stage.stop_server()
        assert [upload.bets for upload in book.uploads] == [stage.files[1].bets] * ROUNDS
        stage.check_outputs()
    return ROUNDS


def _late_round(stage: Stage, port: str, upload_id: bytes) -> None:
    bets = stage.files[1].bets
    gate = threading.Barrier(2)
    with RawAgency(port) as old, RawAgency(port) as new:
        assert old.open(upload_id, len(bets)).code == OK
        assert old.store(bets[:10]).stored == 10
        race = stage.random.random() < 0.5

        def send_late() -> None:
            gate.wait()
            with contextlib.suppress(ConnectionError):  # where it has been ended already
                old.send(batch_message(bets[10:20]))

        late = threading.Thread(target=send_late)
        late.start()
        if race:
            gate.wait()
            begun = new.open(upload_id, len(bets))
        else:
            begun = new.open(upload_id, len(bets))
            gate.wait()
        late.join()
        try:
            answer = old.status()
        except ConnectionError:
            answer = None  # it was told, and the connection ended under the frame that was on its way
        stored_late = answer is not None and answer.code == OK
        if not race:
            assert not stored_late, "I2: a frame of the older connection was stored after the newer one was opened"
        if answer is not None and not stored_late:
            assert answer.code == FENCED, f"a late frame was answered with code {answer.code}"
        assert begun.code == OK
        assert begun.stored in ((10, 20) if race else (10,)), f"told {begun.stored} stored"
        assert not stored_late or begun.stored == 20, "I2: promised to the old connection, unknown to the new one"
        for start in range(begun.stored, len(bets), 10):
            status = new.store(bets[start : start + 10])
            assert (status.code, status.stored) == (OK, start + 10), f"the newer connection: {status}"
            assert status.crc32 == stage.files[1].crc32(start + 10)


def everything_at_once(folder: Path, seed: int) -> int:
    """Three agencies over a network that does to each connection what the seed says, until the faults stop."""
    with Stage(folder, seed, agencies=3, bets=800).opened() as stage:
        stage.start(plan=lambda number: drawn_plan(seed, number, most_bytes=40_000))
        options = (*SMALL_BATCHES, "--idle-timeout", "1")
        clients = {agency: stage.send(agency, *options) for agency in stage.files}
        until = time.monotonic() + FAULTS_FOR_S
        while stage.anybody_runs and stage.proxy.accepted < 12 and time.monotonic() < until:
            time.sleep(0.02)
        stage.finish(clients, *options)
    return 1


KINDS = (
    Kind(name="lost-answers", row="4", trials=40, run=answers_lost),
    Kind(name="cut", row="5", trials=1, run=cut_in_a_frame),
    Kind(name="half-open", row="6", trials=10, run=half_open),
    Kind(name="late-frame", row="7", trials=50, run=late_frames, per_seed=ROUNDS),
    Kind(name="chaos", row="30", trials=20, run=everything_at_once),
)
