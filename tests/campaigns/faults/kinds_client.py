"""What happens to clients: killed, started twice, paused, gone after the seal."""

from __future__ import annotations

import signal
from pathlib import Path

from bets_protocol.testing.chaos import Plan, Way
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.stage import Stage
from tests.e2e.processes import Program, wait_until

SMALL_BATCHES = ("--batch-max", "10")


def kill_at_a_byte(stage: Stage, client: Program, at_byte: int) -> None:
    """SIGKILL for a client when it has sent so many bytes, at the moment when the proxy sees them."""
    before = stage.witness.sent_by_clients

    def look(from_clients: int, _from_server: int) -> None:
        if from_clients - before >= at_byte and client.running:
            client.send_signal(signal.SIGKILL)

    stage.witness.on_bytes = look
    wait_until(lambda: not (client.running and stage.server.running), f"the end of {client.what}")
    stage.witness.on_bytes = None
    assert stage.server.running, f"I9: the server ended by itself:\n{stage.server.out[-2000:]}"


def client_killed(folder: Path, seed: int) -> int:
    """A client is killed at a random byte, up to three times, and the same command is run again; the network may have
    swallowed the end of what it sent, so that the server goes on believing in it."""
    with Stage(folder, seed).opened() as stage:
        stage.start()
        size = sum(map(len, stage.files[1].bets))
        for _ in range(stage.random.randint(1, 3)):
            at_byte = stage.random.randrange(size)
            if stage.random.random() < 0.5:
                way = Way(hole_at=at_byte, late=stage.random.random() < 0.5)
                stage.plans.append(Plan(to_server=way, to_client=way if way.late else Way()))
            kill_at_a_byte(stage, stage.send(1, *SMALL_BATCHES), at_byte)
        stage.plans.clear()
        stage.finish({}, *SMALL_BATCHES)
    return 1


def started_twice(folder: Path, seed: int) -> int:
    """Two to eight uploaders of one file at once: the last to come finishes, nobody fights, each row is there once."""
    with Stage(folder, seed).opened() as stage:
        pace = Way(delay_s=stage.random.choice([0.0, 0.002, 0.01]))
        stage.start(plan=lambda _number: Plan(to_server=pace, to_client=pace))
        many = stage.random.randint(2, 8)
        windows = [str(stage.random.randint(1, 16)) for _ in range(many)]
        clients = [stage.send(1, "--batch-max", "5", "--window", window) for window in windows]
        codes = [client.finished() for client in clients]
        assert set(codes) <= {0, 6}, f"the {many} clients ended with {codes}"
        assert 0 in codes, f"none of {many} clients finished: {codes}"
        assert len(stage.witness.talks) <= many, f"{len(stage.witness.talks)} connections of {many} clients: they fight"
        for client, code in zip(clients, codes, strict=True):
            assert code == 0 or "another" in client.err or "newer" in client.err, f"what fenced means: {client.err}"
        stage.check_end()
    return 1


def paused_and_overtaken(folder: Path, seed: int) -> int:
    """A client is stopped (SIGSTOP) at a random byte, another finishes, and the first goes on: it changes nothing."""
    with Stage(folder, seed).opened() as stage:
        stage.start()
        first = stage.send(1, *SMALL_BATCHES)
        at_byte = stage.random.randrange(sum(map(len, stage.files[1].bets)))

        def look(from_clients: int, _from_server: int) -> None:
            if from_clients >= at_byte:
                first.send_signal(signal.SIGSTOP)
                stage.witness.on_bytes = None

        stage.witness.on_bytes = look
        wait_until(lambda: stage.witness.on_bytes is None or not first.running, "the pause")
        second = stage.send(1, *SMALL_BATCHES).expect()
        first.send_signal(signal.SIGCONT)
        code = first.finished()
        assert code in (0, 6), f"the paused client ended with {code}:\n{first.err}"
        stage.finish({1: second})
    return 1


def gone_after_the_seal(folder: Path, seed: int) -> int:
    """A client dies between seal and winners, more than once; whoever asks again gets the same answer."""
    with Stage(folder, seed, agencies=2, bets=300).opened() as stage:
        stage.start()
        for _ in range(stage.random.randint(1, 2)):
            waiting = stage.send(1)
            waiting.wait_for_line("consulta_ganadores | result: in_progress")
            if stage.random.random() < 0.7:
                wait_until(lambda: len(stage.witness.talks[-1].statuses) >= 2, "the answer to the seal")
            waiting.send_signal(signal.SIGKILL)
            waiting.finished()
        last = stage.send(2)
        if stage.random.random() < 0.5:
            last.expect()
        first = [stage.send(1) for _ in range(stage.random.randint(1, 2))]
        if len(first) == 2:  # one of them takes the upload from the other, or both come after the draw
            codes = [client.finished() for client in first]
            assert set(codes) <= {0, 6}, f"asking twice ended with {codes}"
            first.append(stage.send(1))
        stage.finish({1: first[-1], 2: last})
    return 1


KINDS = (
    Kind(name="client-kill", row="3", trials=40, run=client_killed),
    Kind(name="twice", row="8", trials=10, run=started_twice),
    Kind(name="client-pause", row="15, 18", trials=10, run=paused_and_overtaken),
    Kind(name="after-seal", row="17", trials=20, run=gone_after_the_seal),
)
