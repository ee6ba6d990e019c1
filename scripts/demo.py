"""The whole job on this machine: made-up bets of several agencies, one server, one draw, a table of what came out.

Uses the installed programs only, as a person would: `bets-client sample` writes the files, `bets-server serve` takes a
free port, one `bets-client send` for each agency runs at the same time, one agency asks a second time, and when the
server has stopped, `bets-server export` says what it has stored. Everything lies in one folder, logs included, and
stays there. The exit code is 0 only when every program did its part, the store holds exactly the rows of the files,
and each agency was told as many winners as its file has. Nothing but the standard library.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
PORT_LINE = re.compile(r"action: config \| result: success \| port: ([1-9]\d*)")
WINNERS_LINE = re.compile(r"action: consulta_ganadores \| result: success \| cant_ganadores: (\d+)")
WINNING_NUMBER = "7574"
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 20.0
POLL_S = 0.02


class Failed(Exception):
    """A part of the demonstration did not do what it should; the text goes to the user."""


def _environment() -> dict[str, str]:
    """The environment without settings of the two programs, so that only what stands here counts."""
    ours = re.compile(r"(BETS|CLI|SERVER)_|(AGENCIA|EXPECTED_CLIENTS|LOGGING_LEVEL)$")
    return {name: value for name, value in os.environ.items() if not ours.match(name)}


def _start(folder: Path, log: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [PROGRAMS / program, *arguments],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _run(folder: Path, log: Path, program: str, *arguments: str, deadline_s: float) -> None:
    process = _start(folder, log, program, *arguments)
    try:
        code = process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        raise Failed(f"{program} {arguments[0]} was not done after {deadline_s:.0f} s{_end_of(log)}") from None
    finally:
        _kill(process)
    if code:
        raise Failed(f"{program} {arguments[0]} ended with exit code {code}{_end_of(log)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    """The last lines of a log, for a message that somebody has to act on."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    return f"; the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)


def _wait_for(condition: Callable[[], bool], deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _port_of(server: subprocess.Popen[bytes], log: Path) -> int:
    def found() -> re.Match[str] | None:
        return PORT_LINE.search(log.read_text(encoding="utf-8", errors="replace"))

    _wait_for(lambda: found() is not None or server.poll() is not None, START_DEADLINE_S)
    line = found()
    if line is None:
        raise Failed(f"bets-server did not say which port it took{_end_of(log)}")
    return int(line[1])


def _upload(folder: Path, url: str, agencies: Sequence[int], deadline_s: float) -> dict[int, float]:
    """Run one client for each agency at once; the seconds that each took, its wait for the draw included."""
    started = time.monotonic()
    logs = {agency: folder / f"client-{agency}.log" for agency in agencies}
    clients: dict[int, subprocess.Popen[bytes]] = {}
    took: dict[int, float] = {}

    def all_done() -> bool:
        for agency, client in clients.items():
            if agency not in took and client.poll() is not None:
                took[agency] = time.monotonic() - started
                if client.returncode:
                    raise Failed(f"client {agency} ended with exit code {client.returncode}{_end_of(logs[agency])}")
        return len(took) == len(clients)

    try:
        for agency in agencies:
            arguments = ("send", f"agency-{agency}.csv", "--server", url)
            clients[agency] = _start(folder, logs[agency], "bets-client", *arguments)
        if not _wait_for(all_done, deadline_s):
            late = [agency for agency in agencies if agency not in took]
            raise Failed(f"not done after {deadline_s:.0f} s: agencies {late}{_end_of(logs[late[0]])}")
    finally:
        for client in clients.values():
            _kill(client)
    return took


def _serve_and_upload(folder: Path, agencies: Sequence[int], deadline_s: float) -> dict[int, float]:
    log = folder / "server.log"
    server = _start(
        *(folder, log, "bets-server", "serve", "--listen", "tcp://127.0.0.1:0", "--store", "sqlite:///bets.db"),
        *("--agencies", str(len(agencies)), "--winning-number", WINNING_NUMBER, "--log-level", "DEBUG"),
    )
    try:
        url = f"tcp://127.0.0.1:{_port_of(server, log)}"
        took = _upload(folder, url, agencies, deadline_s)
        _ask_again(folder, url, agencies[0], deadline_s)
        server.terminate()
        try:
            code = server.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"bets-server did not stop within {STOP_DEADLINE_S:.0f} s{_end_of(log)}") from None
        if code:
            raise Failed(f"bets-server ended with exit code {code}{_end_of(log)}")
    finally:
        _kill(server)
    return took


def _ask_again(folder: Path, url: str, agency: int, deadline_s: float) -> None:
    """The draw is final: who asks a second time gets the first answer."""
    log = folder / f"again-{agency}.log"
    _run(folder, log, "bets-client", "winners", "--agency", str(agency), "--server", url, deadline_s=deadline_s)
    first, again = _winners(folder / f"client-{agency}.log"), _winners(log)
    if again != first:
        raise Failed(f"agency {agency} had {first} winners and has {again} when it asks again")


def _rows(file: Path) -> Iterator[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.reader(lines)


def _check(folder: Path, winners: Mapping[int, int], deadline_s: float) -> None:
    """Compare what the store holds, and what the clients were told, with the files that were sent."""
    arguments = ("export", "stored.csv", "--raw", "--store", "sqlite:///bets.db")
    _run(folder, folder / "export.log", "bets-server", *arguments, deadline_s=deadline_s)
    stored: dict[int, list[list[str]]] = {agency: [] for agency in winners}
    for whose, *bet in _rows(folder / "stored.csv"):
        stored[int(whose)].append(bet)
    for agency, told in winners.items():
        sent = list(_rows(folder / f"agency-{agency}.csv"))
        if stored[agency] != sent:
            raise Failed(f"agency {agency} sent {len(sent)} bets, and the {len(stored[agency])} in the store differ")
        due = sum(number == WINNING_NUMBER for *_, number in sent)
        if told != due:
            raise Failed(f"agency {agency} was told {told} winners, and its file has {due}")


def _winners(log: Path) -> int:
    line = WINNERS_LINE.search(log.read_text(encoding="utf-8", errors="replace"))
    if line is None:
        raise Failed(f"bets-client did not say how many winners there are{_end_of(log)}")
    return int(line[1])


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _report(folder: Path, bets: int, took: Mapping[int, float], winners: Mapping[int, int]) -> None:
    rows = [("agency", "bets", "winners", "time")]
    rows += [(str(agency), f"{bets:,}", str(winners[agency]), f"{took[agency]:.2f} s") for agency in winners]
    slowest = max(took.values())
    rows.append(("all", f"{len(winners) * bets:,}", str(sum(winners.values())), f"{slowest:.2f} s"))
    print(_table(rows))
    print(f"\n{len(took) * bets / slowest:,.0f} bets a second, each on disk before it was acknowledged")
    print(f"database: {folder / 'bets.db'}")
    print(f"logs:     {folder / 'server.log'}, {folder / 'client-1.log'}, ...")


def _fresh(folder: Path) -> None:
    """Make the folder, without what an earlier demonstration left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("agency-*.csv", "bets.db*", "stored.csv", "*.log"):
        for old in folder.glob(pattern):
            old.unlink()


def _demonstrate(folder: Path, count: int, bets: int, seed: int, deadline_s: float) -> None:
    agencies = range(1, count + 1)
    _fresh(folder)
    print(f"{count} agencies with {bets:,} bets each, in {folder}", flush=True)
    sample = ("sample", ".", "--agencies", str(count), "--bets", str(bets), "--seed", str(seed))
    _run(folder, folder / "sample.log", "bets-client", *sample, deadline_s=deadline_s)
    took = _serve_and_upload(folder, agencies, deadline_s)
    winners = {agency: _winners(folder / f"client-{agency}.log") for agency in agencies}
    _check(folder, winners, deadline_s)
    _report(folder, bets, took, winners)


def main() -> int:
    """Parse the options, run, and say what failed in one line."""
    parser = argparse.ArgumentParser(description="Run the whole job on made-up bets and show what came out.")
    parser.add_argument("--agencies", type=int, default=5, metavar="N")
    parser.add_argument("--bets", type=int, default=20_000, metavar="N", help="of each agency")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another seed, other bets")
    parser.add_argument("--folder", type=Path, default=Path("demo-data"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--deadline", type=float, default=300.0, metavar="SECONDS", help="for each step")
    options = parser.parse_args()
    folder = options.folder.resolve()
    try:
        _demonstrate(folder, options.agencies, options.bets, options.seed, options.deadline)
    except (Failed, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
