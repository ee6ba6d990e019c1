"""What must hold of the system in containers: one function each, in the order of worth."""

from __future__ import annotations

import time

from tests.campaigns.containers.engine import Failed, call, docker
from tests.campaigns.containers.system import GRACE_S, System, expect, wait_until, winners_in

GOOD = (0, "action: test_echo_server | result: success\n")
BAD = (1, "action: test_echo_server | result: fail\n")

STORED = "apuesta_recibida"

_ECHO = """
import socket, sys
with socket.create_server(("0.0.0.0", 12345)) as listener:
    print("ready", flush=True)
    while True:
        peer, _ = listener.accept()
        with peer:
            while data := peer.recv(1024):
                peer.sendall(sys.argv[1].encode() + data)
"""


def _winners_are_right(system: System, sent: dict[int, list[str]]) -> None:
    """Every agency was told its own winners, after the draw, and the book holds exactly what was sent."""
    expect(1, len(system.logged("server", "sorteo")), "draws")
    (draw,) = system.moments("server", "sorteo")
    for agency, lines in sent.items():
        due = winners_in(lines)
        (line,) = system.logged(f"client{agency}", "consulta_ganadores")[-1:]
        expect(str(len(due)), line.fields["cant_ganadores"], f"winners of agency {agency}")
        answers = [text for text in system.output(f"client{agency}").splitlines() if text.isdigit()]
        expect(due, sorted(answers[-len(due) :]) if due else [], f"documents that agency {agency} was told")
        if min(told := system.moments(f"client{agency}", "consulta_ganadores")) < draw:
            raise Failed(f"agency {agency} has logged its winners at {told[0]}, before the draw of {draw}")
    expect(sent, system.book(), "the book")


def five_agencies(system: System, base: str) -> None:
    """Probes, uploads, the draw and its winners, for five agencies; the echo; a stop in which all end with 0."""
    del base
    system.generate(5)
    system.configure(amount=3, level="DEBUG")
    sent = system.sample(2000, seed=1)
    sent[1][7] = sent[1][7].rpartition(",")[0] + ",7574"  # at least one wins
    (system.folder / ".data" / "agency-1.csv").write_text("".join(f"{line}\r\n" for line in sent[1]))
    system.up()
    system.all_done()
    for agency in system.agencies:
        lines = system.log(f"client{agency}")
        expect([], [line for line in lines if line.result == "fail"], f"failures of client{agency}")
        actions = [line.action for line in lines if not line.action.startswith(("close_", "connect", "batch_"))]
        expect(["config", *["receive_message"] * 3, "loop_finished"], actions[:5], f"how client{agency} begins")
        expect(
            [f"[CLIENT {agency}] Message N°{number}" for number in (1, 2, 3)],
            [line.fields["msg"] for line in lines if line.action == "receive_message"],
            f"echoes of client{agency}",
        )
    expect([], [line for line in system.log("server") if line.result == "fail"], "failures of the server")
    _winners_are_right(system, sent)
    told = docker("exec", system.container("server"), "bets-server", "winners").splitlines()
    expect(
        [f"{agency},{document}" for agency in sent for document in winners_in(sent[agency])], sorted(told), "winners"
    )
    expect(GOOD, system.echoes(), "the echo of the live server")
    state = docker("inspect", "-f", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}", system.container("server"))
    expect("10001:10001 true", state.strip(), "user and read-only files")
    system.up()  # the same file again: the same draw, in which everything is stored already
    system.all_done()
    for agency in system.agencies:
        last = system.logged(f"client{agency}", "archivo_enviado")[-1].fields
        expect(("2000", "0"), (last["already_stored"], last["sent_now"]), f"what agency {agency} sends again")
    _winners_are_right(system, sent)
    system.stop()


def other_settings(system: System, base: str) -> None:
    """Other port, backlog, probes, level and batches by the mounted files alone; then one bet from the environment."""
    del base
    system.generate(1)
    system.configure(port=23456, backlog=77, amount=1, level="DEBUG", batch_max=7)
    sent = system.sample(100, seed=2)
    system.up()
    system.all_done()
    sizes = [line.fields["cantidad"] for line in system.logged("server", STORED)]
    expect(["7"] * 14 + ["2"], sizes, "batches")
    (config,) = system.logged("server", "config")
    shown = [config.fields[key] for key in ("port", "listen_backlog", "logging_level")]
    expect(["23456", "77", "DEBUG"], shown, "the server's settings")
    (config,) = system.logged("client1", "config")
    shown = [config.fields[key] for key in ("server_address", "loop_amount", "loop_period", "batch_max_amount")]
    expect(["server:23456", "1", "10ms", "7"], shown, "the client's settings")
    _winners_are_right(system, sent)
    system.compose("stop", "-t", str(GRACE_S))
    system.configure(amount=0)
    system.generate(1)  # a new file is a new draw, in the same book
    bet = {"NOMBRE": "Santiago Lionel", "APELLIDO": "Lorca", "DOCUMENTO": "30904465", "NACIMIENTO": "1999-03-17"}
    system.up(**bet, NUMERO="7574")
    system.all_done()
    for service, action in (("client1", "apuesta_enviada"), ("server", "apuesta_almacenada")):
        (line,) = system.logged(service, action)
        expect({"dni": "30904465", "numero": "7574"}, line.fields, action)
    expect({1: ["Santiago Lionel,Lorca,30904465,1999-03-17,7574"]}, system.book(), "the book of the second draw")
    system.stop()


def twenty_agencies(system: System, base: str) -> None:
    """As many as are asked for."""
    del base
    system.generate(20)
    system.configure(amount=1)
    sent = system.sample(200, seed=3)
    system.up()
    system.all_done()
    _winners_are_right(system, sent)
    system.stop()


def stops_at_any_point(system: System, base: str) -> None:
    """SIGTERM while starting, between two probes, in the middle of an upload: 0 within the grace time, nothing lost."""
    del base
    system.generate(1)
    system.configure(amount=2, period="1h")
    sent = system.sample(20_000, seed=4)
    system.up()
    system.wait_for("client1", "receive_message")
    for service in ("client1", "server"):
        _stops(system, service)
        docker("start", system.container(service))
        _stops(system, service)  # Python has hardly begun to start
    docker("start", system.container("server"))
    system.configure(batch_max=2)
    docker("start", system.container("client1"))
    system.wait_for("server", STORED, 300)
    _stops(system, "client1")
    docker("start", system.container("client1"))
    system.wait_for("server", STORED, 600)
    _stops(system, "server")
    docker("start", system.container("server"))
    system.all_done()
    _went_on(system, "client1", 20_000)
    _winners_are_right(system, sent)
    system.stop()


def _stops(system: System, service: str) -> None:
    started = time.monotonic()
    docker("stop", "-t", str(GRACE_S), system.container(service))
    took = time.monotonic() - started
    expect(0, system.exit_code(service), f"exit code of {service} when it is stopped")
    if took >= GRACE_S:
        raise Failed(f"{service} took {took:.1f} s to stop")


def _went_on(system: System, service: str, bets: int) -> None:
    """An earlier run had been ended in the middle: the last one found some bets stored, and not all."""
    last = system.logged(service, "archivo_enviado")[-1]
    if not 0 < int(last.fields["already_stored"]) < bets:
        raise Failed(f"{service} was not ended in the middle of its upload: {last.fields}")


def client_killed(system: System, base: str) -> None:
    """An agency that is killed in its upload and started again: no bet is missing, none is there twice."""
    del base
    system.generate(2)
    system.configure(batch_max=2)
    sent = system.sample(20_000, seed=5)
    system.up()
    system.wait_for("server", STORED, 500)
    expect(GOOD, system.echoes(), "the echo in the middle of uploads")
    docker("kill", system.container("client1"))
    expect(137, system.exit_code("client1"), "exit code of the killed client")
    docker("start", system.container("client1"))
    system.all_done()
    _went_on(system, "client1", 20_000)
    _winners_are_right(system, sent)
    system.stop()


def server_killed(system: System, base: str) -> None:
    """A server that is killed in the uploads and started again: the agencies go on by themselves."""
    del base
    system.generate(2)
    system.configure(batch_max=2)
    sent = system.sample(20_000, seed=6)
    system.up()
    system.wait_for("server", STORED, 500)
    docker("kill", system.container("server"))
    expect(137, system.exit_code("server"), "exit code of the killed server")
    for service in system.clients():
        wait_until(lambda name=service: "connect" in system.output(name), f"{service} to notice")  # type: ignore[misc]
    docker("start", system.container("server"))
    system.all_done()
    for service in system.clients():
        if not system.logged(service, "archivo_enviado"):
            raise Failed(f"{service} has not sent its file")
    _winners_are_right(system, sent)
    system.stop()


def old_compose_files(system: System, base: str) -> None:
    """The entry points that older Compose files name, and a server that need not be healthy first."""
    del base
    system.generate(1)
    system.configure(amount=1)
    sent = system.sample(50, seed=7)
    system.rewrite("server", entrypoint="python3 /main.py")
    system.rewrite("client1", entrypoint="/client", depends_on=["server"])
    system.up()
    system.all_done()
    _winners_are_right(system, sent)
    system.stop()


def no_echo(system: System, base: str) -> None:
    """Without a server, with one that echoes something else, without the network: fail, and nothing else is said."""
    system.generate(0)
    system.configure()
    system.up()
    expect(GOOD, system.echoes(), "the echo of a server without agencies")
    system.stop()
    expect(BAD, system.echoes(), "the echo of a stopped server")
    for said_first, expected in (("", GOOD), ("error: ", BAD)):
        name = system.container("echo")
        arguments = ("--network", system.network, "--network-alias", "server", base, "python3", "-c", _ECHO, said_first)
        docker("run", "-d", "--name", name, *arguments)
        try:
            wait_until(lambda: "ready" in system.output("echo"), "the other server")
            expect(expected, system.echoes(), f"the echo of a server that answers with {said_first!r} before it")
        finally:
            call("docker", "rm", "-f", name)
    expect(BAD, system.echoes(f"{system.project}_missing"), "the echo without the network")


SCENARIOS = (
    five_agencies,
    other_settings,
    client_killed,
    server_killed,
    stops_at_any_point,
    no_echo,
    old_compose_files,
    twenty_agencies,
)
