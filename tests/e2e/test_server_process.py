"""What the process of a server is to the system: SIGHUP does not end it, and no image of it is written."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
from pathlib import Path

from tests.certificates import Authority
from tests.e2e.processes import Program, Programs

_HANGUP = 1 << (signal.SIGHUP - 1)


def _survives_hangups(program: Program) -> bool:
    """Whether it ignores or takes SIGHUP."""
    status = Path(f"/proc/{program.pid}/status").read_text()
    return any(int(mask, 16) & _HANGUP for mask in re.findall(r"Sig(?:Ign|Cgt):\t(\S+)", status))


def _open_once_it_is_read(program: Program, pipe: Path) -> int:
    """The writing end of a named pipe, once `program` waits for what comes out of it."""
    ends: list[int] = []

    def opened() -> bool:
        try:
            ends.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(ends)

    program.wait_until(opened, f"reading {pipe.name}")
    return ends[0]


def test_hangup_without_certificates(programs: Programs) -> None:
    """There is nothing to read anew, which is said, and the server goes on."""
    server = programs.server("--store", "csv:///bets.csv")
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: success | warning: there are none: no listener is encrypted")
    server.send_signal(signal.SIGHUP)
    server.wait_for_line("reload_certificates | result: success | warning: ", count=2)
    server.stop()


def test_hangup_while_the_server_starts(programs: Programs) -> None:
    """It is not lost: whatever was read before is read anew as soon as that can be done."""
    ours = Authority(programs.folder).server()
    pipe = programs.folder / "pins"
    os.mkfifo(pipe)
    files = ("--tls-cert", str(ours.cert), "--tls-key", str(ours.key), "--tls-ca", str(ours.ca), "--tls-pins", "pins")
    starting = programs.start(
        "bets-server", "serve", "--listen", "tls://127.0.0.1:0", "--store", "csv:///b.csv", *files
    )
    starting.wait_until(lambda: _survives_hangups(starting), "taking SIGHUP")
    starting.send_signal(signal.SIGHUP)
    end = _open_once_it_is_read(starting, pipe)
    starting.send_signal(signal.SIGHUP)
    (programs.folder / "file").touch()
    (programs.folder / "file").replace(pipe)  # a pipe would not be read again
    os.close(end)
    starting.wait_for_line("accept_connections | result: in_progress")
    starting.wait_for_line("reload_certificates | result: success")
    starting.stop()


def test_hangup_before_the_server_has_read_anything(programs: Programs) -> None:
    """It is left aside from the first moment on; the other commands end at it, as commands do."""
    code = (
        "import contextlib, signal, sys; from bets_server.__main__ import main; sys.argv[1:] = '{} --help'.split()\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(signal.getsignal(signal.SIGHUP).name)"
    )
    found = [programs.python(code.format(command)).expect().results[-1] for command in ("serve", "status")]
    assert found == ["SIG_IGN", "SIG_DFL"]


def test_no_core_dumps(programs: Programs) -> None:
    """Also where the system would allow them: there are bets and a key in them."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        server = programs.server("--store", "csv:///bets.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)
    server.stop()
