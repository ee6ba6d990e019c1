"""What happens to the server: killed, stopped, paused, given another time of day; and the instant of the draw."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bets_server.store import BetStore, SealOutcome, open_store
from tests.campaigns.faults.kinds import Kind
from tests.campaigns.faults.kinds_client import SMALL_BATCHES
from tests.campaigns.faults.model import document_of, number_of
from tests.campaigns.faults.raw_agency import RawAgency, upload_id_of
from tests.campaigns.faults.stage import Stage
from tests.campaigns.faults.witness import OK
from tests.e2e.processes import wait_until

PAUSE_S = 1.0
BARRIERS = 10
RACES = 10
CLOCK_SHIM = Path(__file__).with_name("clock_shim.c")


def at_a_byte(stage: Stage, at_byte: int, deed: Callable[[], None]) -> None:
    """Waits until the clients have sent so many bytes, and does it at that very moment; or they end before."""
    done = threading.Event()

    def look(from_clients: int, _from_server: int) -> None:
        if from_clients >= at_byte and not done.is_set():
            deed()
            done.set()

    stage.witness.on_bytes = look
    wait_until(lambda: done.is_set() or not stage.anybody_runs, "enough bytes")
    stage.witness.on_bytes = None
    if not done.is_set():
        deed()


def server_killed(folder: Path, seed: int) -> int:
    """The server is killed under five clients, up to twice, and started again at the same place."""
    with Stage(folder, seed, agencies=5, bets=500).opened() as stage:
        stage.start()
        size = 31 + sum(len(bet) for file in stage.files.values() for bet in file.bets)
        clients = {agency: stage.send(agency, *SMALL_BATCHES) for agency in stage.files}
        for _ in range(stage.random.randint(1, 2)):
            at_byte = stage.witness.sent_by_clients + stage.random.randrange(size)
            at_a_byte(stage, at_byte, lambda: stage.server.send_signal(signal.SIGKILL))
            stage.kill_server()
            stage.serve()
        stage.finish(clients, *SMALL_BATCHES)
    return 1


def server_stopped(folder: Path, seed: int) -> int:
    """SIGTERM under load, idle, while agencies wait for the draw, and twice: an orderly end within its time, and what
    was promised is there; the clients go on by themselves with the next server."""
    with Stage(folder, seed, agencies=2, bets=600).opened() as stage:
        stage.start()
        when = ("load", "idle", "draw", "twice")[seed % 4]
        number = stage.random.choice([signal.SIGTERM, signal.SIGINT])
        clients = {}
        if when == "draw":
            clients = {1: stage.send(1, *SMALL_BATCHES)}
            clients[1].wait_for_line("consulta_ganadores | result: in_progress")
        elif when != "idle":
            clients = {agency: stage.send(agency, *SMALL_BATCHES) for agency in stage.files}
            at_a_byte(stage, stage.random.randrange(30_000), lambda: stage.server.send_signal(number))
        if when == "twice":
            stage.server.send_signal(number)
        if when in ("idle", "draw"):
            stage.server.send_signal(number)
        code = stage.server.finished(8.0)
        assert code == (130 if number is signal.SIGINT else 0), f"stopped {when}: exit code {code}:\n{stage.server.out}"
        assert stage.server.lines[-1] == "shutdown | result: success", f"stopped {when}: {stage.server.lines[-1]}"
        stage.check_scene()
        stage.serve()
        stage.finish(clients, *SMALL_BATCHES)
    return 1


def server_paused(folder: Path, seed: int) -> int:
    """SIGSTOP for a while: the clients give the connection up and come back; what the server finds in its old
    connections when it goes on can no longer do harm."""
    with Stage(folder, seed, agencies=2, bets=600).opened() as stage:
        stage.start()
        options = (*SMALL_BATCHES, "--idle-timeout", "0.2")
        clients = {agency: stage.send(agency, *options) for agency in stage.files}
        at_a_byte(stage, stage.random.randrange(40_000), lambda: stage.server.send_signal(signal.SIGSTOP))
        time.sleep(stage.random.uniform(0, PAUSE_S))  # the fault itself, not a wait
        stage.server.send_signal(signal.SIGCONT)
        stage.finish(clients, *options)
    return 1


def sealed_at_once(folder: Path, seed: int) -> int:
    """Five agencies ask at the same instant: the draw takes place once, soon, and each is told its own winners."""
    with Stage(folder, seed, agencies=5, bets=20).opened() as stage:
        server = stage.serve()
        told: dict[int, list[str]] = {}
        gate = threading.Barrier(len(stage.files))

        def run(agency: int) -> None:
            file = stage.files[agency]
            with RawAgency(server.port, agency) as client:
                assert client.open(upload_id_of(f"{seed}"), len(file.bets)).code == OK
                assert client.store(file.bets).code == OK
                gate.wait()
                told[agency] = client.winners()

        everybody(run, stage.files)
        assert told == {agency: file.winners(stage.number) for agency, file in stage.files.items()}, f"I5: {told}"
        assert server.logged("sorteo | result: success") == 1, "I5: not one draw"
        stage.check_end()
    return 1


def batch_races_the_seal(folder: Path, seed: int) -> int:
    """Old clients that still send while their agency is sealed: what is acknowledged is in the draw, no more."""
    with Stage(folder, seed, agencies=RACES, bets=60).opened() as stage:
        server = stage.serve()
        pauses = {agency: stage.random.uniform(0, 0.02) for agency in stage.files}
        acknowledged, told = dict.fromkeys(stage.files, 0), dict[int, list[str]]()

        def send(agency: int) -> None:
            bets = stage.files[agency].bets
            with RawAgency(server.port, agency) as client:
                for start in range(0, len(bets), 3):
                    count = client.plain_store(bets[start : start + 3])
                    assert count in (0, 3), f"an Ack of {count} for 3 bets"
                    if not count:
                        return
                    acknowledged[agency] += count

        def ask(agency: int) -> None:
            time.sleep(pauses[agency])  # so that the seal falls anywhere among the batches
            with RawAgency(server.port, agency) as client:
                told[agency] = client.plain_winners()

        everybody(lambda each: send(each) if each > 0 else ask(-each), [*stage.files, *(-each for each in stage.files)])
        book = stage.stop_server()
        stored = {agency: sum(len(upload.bets) for upload in book.of_agency(agency)) for agency in stage.files}
        assert stored == acknowledged, f"I1: acknowledged {acknowledged}, in the draw {stored}"
        model = {
            agency: [document_of(bet) for bet in file.bets[: stored[agency]] if number_of(bet) == stage.number]
            for agency, file in stage.files.items()
        }
        assert told == model, f"I5: told {told}, not {model}"
        stage.check_outputs()
    return RACES


def barrier_of_the_store(folder: Path, seed: int) -> int:
    """Five threads seal in the store itself at the same instant: the last one draws, in each of ten draws."""
    for draw in range(1, BARRIERS + 1):
        with open_store(f"sqlite:///{folder}/bets.db", draw=draw) as store:
            drawn_now = _agencies_that_drew(store, seed % 10_000)
            assert len(drawn_now) == 1, f"I5: draw {draw}: the agencies {drawn_now} made the draw"
            assert store.state().drawn, f"I5: draw {draw}: all are sealed and nobody has closed it"
            assert [store.winners(agency) for agency in range(1, 6)] == [()] * 5
    return BARRIERS


def _agencies_that_drew(store: BetStore, number: int) -> list[int]:
    gate = threading.Barrier(5)
    outcomes: dict[int, SealOutcome] = {}

    def run(agency: int) -> None:
        gate.wait()
        outcomes[agency] = store.seal_and_draw(agency, expected=5, pick=lambda: number)

    everybody(run, range(1, 6))
    return [agency for agency, outcome in outcomes.items() if outcome.drawn_now]


def everybody(run: Callable[[int], None], agencies: Iterable[int]) -> None:
    """Runs something for each agency at once; raises what one of them raised."""
    errors: list[BaseException] = []

    def guarded(agency: int) -> None:
        try:
            run(agency)
        except Exception as error:  # noqa: BLE001 - raised below, on the thread of the trial
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(agency,)) for agency in agencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def compiler_missing() -> str:
    """The obstacle of trials that need a C compiler."""
    return "" if shutil.which(os.environ.get("CC", "cc")) else "no C compiler for the false clock"


def clock_steps(folder: Path, seed: int) -> int:
    """The wall clock of server and clients is off by up to a day and jumps at every look: nothing depends on it."""
    shim = folder / "clock.so"
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", str(shim), str(CLOCK_SHIM), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    with Stage(folder, seed, agencies=2, bets=600).opened() as stage:
        clocks = [str(stage.random.randint(-86_400, 86_400)) for _ in range(3)]
        steps = [str(stage.random.choice([0, 1, -1, 3600, -3600])) for _ in range(3)]
        worlds = [
            {"LD_PRELOAD": str(shim), "CLOCK_OFFSET_S": clock, "CLOCK_STEP_S": step}
            for clock, step in zip(clocks, steps, strict=True)
        ]
        stage.serve(**worlds[0])
        stage.connect()
        clients = {agency: stage.send(agency, *SMALL_BATCHES, **worlds[agency]) for agency in stage.files}
        stage.finish(clients, *SMALL_BATCHES)
    return 1


KINDS = (
    Kind(name="server-kill", row="9", trials=50, run=server_killed),
    Kind(name="server-stop", row="18", trials=12, run=server_stopped),
    Kind(name="server-pause", row="18", trials=6, run=server_paused),
    Kind(name="seal-at-once", row="16", trials=50, run=sealed_at_once),
    Kind(name="race-seal", row="17", trials=50, run=batch_races_the_seal, per_seed=RACES),
    Kind(name="store-barrier", row="16", trials=50, run=barrier_of_the_store, per_seed=BARRIERS),
    Kind(name="clock", row="19", trials=5, run=clock_steps, obstacle=compiler_missing),
)
