"""The system of one scenario: a folder with the users' files, a Compose project of its own, and what it has logged.

The Compose file comes from `generar-compose.sh`. Then its names are made this run's own, so that a system that runs on
the same machine under the usual names is not touched: the project, the images, the containers, and the network, which
gets whatever addresses the engine has free. Nothing else is changed.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bets_client.input.sample import rows
from tests.campaigns.containers.engine import Failed, call, docker, environment
from tests.log_reader import LogLine, read_log, read_output

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0
"""For whatever the system does: many times what it takes."""

COMPOSE_DEADLINE_S = 180.0
"""For Compose, which starts and stops everything."""

GRACE_S = 10
"""What a stop may take before the engine kills."""

_NEEDED = ("generar-compose.sh", "validar-echo-server.sh", "src/bets_server/deploy/compose.py", "server", "client")


def wait_until(holds: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> None:
    """Wait for a condition.

    Raises:
        Failed: it did not come about.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"waited {within_s:g} s for: {what}")
        time.sleep(0.05)


def expect(expected: object, actual: object, what: str) -> None:
    """Compare.

    Raises:
        Failed: they differ.
    """
    if expected != actual:
        raise Failed(f"{what}: expected {expected!r}, actually {actual!r}")


class System:
    """A server and its agencies in containers.

    Args:
        folder: does not exist yet; for the users' files.
        project: the name of the Compose project, and the start of the names of containers and network.
        images: the start of the names of the images.
    """

    def __init__(self, folder: Path, project: str, images: str) -> None:
        self.folder = folder
        self.project = project
        self._images = images
        self.network = f"{project}_testing_net"
        self.agencies = range(1, 1)
        self._compose = folder / "docker-compose-dev.yaml"
        for name in _NEEDED:
            source, target = PROJECT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)

    def images(self) -> list[str]:
        """The names of the images of server and client."""
        return [f"{self._images}-{name}:latest" for name in ("server", "client")]

    def build(self, base: str) -> None:
        """Build both images, as the README says."""
        for name, image in zip(("server", "client"), self.images(), strict=True):
            arguments = ("--build-arg", f"BASE={base}", "-f", f"./{name}/Dockerfile", "-t", image, ".")
            call("docker", "build", *arguments, within_s=600, cwd=str(PROJECT))

    # The users' files.

    def generate(self, count: int) -> None:
        """Write the Compose file for so many agencies with the script, and make its names this run's own."""
        self.agencies = range(1, count + 1)
        # Tests run with PyYAML, so the script shall find it.
        path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
        script = ("sh", "generar-compose.sh", self._compose.name, str(count))
        call(*script, cwd=str(self.folder), env=environment(PATH=path))
        holds: dict[str, Any] = yaml.safe_load(self._compose.read_text(encoding="utf-8"))
        holds["name"] = self.project
        for name, service in holds["services"].items():
            service["container_name"] = self.container(name)
            service["image"] = f"{self._images}-{service['image']}"
        for network in holds["networks"].values():
            del network["ipam"]
        self._write(holds)

    def rewrite(self, service: str, **changes: object) -> None:
        """Change a service of the Compose file by hand."""
        holds = yaml.safe_load(self._compose.read_text(encoding="utf-8"))
        holds["services"][service].update(changes)
        self._write(holds)

    def _write(self, holds: dict[str, Any]) -> None:
        self._compose.write_text(yaml.safe_dump(holds, sort_keys=False), encoding="utf-8")

    def configure(
        self,
        *,
        port: int = 12345,
        backlog: int = 5,
        amount: int = 0,
        period: str = "10ms",
        level: str = "INFO",
        batch_max: int = 130,
    ) -> None:
        """Write both configuration files in the way of the legacy users, in place: they are mounted."""
        (self.folder / "server" / "config.ini").write_text(
            f"[DEFAULT]\nSERVER_PORT = {port}\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = {backlog}\n"
            f"LOGGING_LEVEL = {level}"
        )
        (self.folder / "client" / "config.yaml").write_text(
            f'server:\n  address: "server:{port}"\nloop:\n  amount: {amount}\n  period: "{period}"\n'
            f'log:\n  level: "{level}"\nbatch:\n  maxAmount: {batch_max}\n'
        )

    def sample(self, bets: int, seed: int) -> dict[int, list[str]]:
        """Write every agency's data file; gives the rows."""
        made = {agency: list(rows(agency, bets, seed)) for agency in self.agencies}
        for agency, lines in made.items():
            (self.folder / ".data" / f"agency-{agency}.csv").write_text("".join(f"{line}\r\n" for line in lines))
        return made

    # The containers.

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.project}-{service}"

    def clients(self) -> list[str]:
        """The services of the agencies."""
        return [f"client{agency}" for agency in self.agencies]

    def compose(self, *arguments: str, ours: Mapping[str, str] | None = None) -> None:
        """Run `docker compose`; `ours` is in its environment."""
        command = ("docker", "compose", "-f", str(self._compose), "-p", self.project, *arguments)
        call(*command, within_s=COMPOSE_DEADLINE_S, env=environment(**(ours or {})))

    def up(self, **ours: str) -> None:
        """Start everything; `ours` is in the environment of who does."""
        self.compose("up", "-d", ours=ours)

    def stop(self) -> None:
        """Stop everything as `make docker-compose-down` does; all must end well."""
        self.compose("stop", "-t", str(GRACE_S))
        for service in ("server", *self.clients()):
            expect(0, self.exit_code(service), f"exit code of {service}")
        expect("shutdown", self.log("server")[-1].action, "the last line of the server")

    def down(self) -> str:
        """Take everything away, the book too; gives what the engine would not let go, or nothing."""
        if not self._compose.exists():
            return ""
        for rest_s in (0, 1, 3):  # the engine may need a moment for what has just ended
            time.sleep(rest_s)
            try:
                self.compose("down", "-v", "-t", "0", "--remove-orphans")
            except Failed as error:
                left = str(error).strip().splitlines()[-1]
            else:
                return ""
        call("docker", "volume", "rm", f"{self.project}_book", code=None)
        return left

    def exit_code(self, service: str) -> int:
        """Wait for the end of a container and give its exit code."""
        return int(docker("wait", self.container(service), within_s=DEADLINE_S))

    def all_done(self) -> None:
        """Wait until every agency has ended with 0."""
        for service in self.clients():
            code = self.exit_code(service)
            if code:
                raise Failed(f"{service} ended with {code}:\n{self.output(service)[-1500:]}")

    def output(self, service: str) -> str:
        """What it has printed to standard output, in all of its runs."""
        return docker("logs", self.container(service))

    def log(self, service: str) -> list[LogLine]:
        """Its lines, each exactly as documented.

        Raises:
            Failed: one is not.
        """
        try:
            return (read_log if service == "server" else read_output)(self.output(service))
        except AssertionError as error:
            raise Failed(f"{service}: {error}") from error

    def logged(self, service: str, action: str) -> list[LogLine]:
        """Its lines of one action that succeeded."""
        return [line for line in self.log(service) if (line.action, line.result) == (action, "success")]

    def moments(self, service: str, action: str) -> list[str]:
        """When it logged an action that succeeded, as the engine saw it: texts that sort as the times do."""
        lines = docker("logs", "--timestamps", self.container(service)).splitlines()
        return [line.partition(" ")[0] for line in lines if f"action: {action} | result: success" in line]

    def wait_for(self, service: str, action: str, count: int = 1) -> None:
        """Wait until a service has logged an action so often."""
        text = f"action: {action} | result: success"
        wait_until(lambda: self.output(service).count(text) >= count, f"{count} {action} of {service}")

    def book(self) -> dict[int, list[str]]:
        """What the running server has stored, agency by agency, as rows of their files."""
        export = "bets-server export /tmp/book.csv --raw >/dev/null && cat /tmp/book.csv"
        stored: dict[int, list[str]] = {agency: [] for agency in self.agencies}
        for line in docker("exec", self.container("server"), "sh", "-c", export).splitlines():
            agency, _, row = line.partition(",")
            stored[int(agency)].append(row)
        return stored

    def echoes(self, network: str | None = None) -> tuple[int, str]:
        """What `validar-echo-server.sh` ends with and says."""
        env = environment(BETS_NETWORK=network or self.network)
        done = call("sh", "validar-echo-server.sh", cwd=str(self.folder), env=env, code=None)
        expect("", done.stderr, "what validar-echo-server.sh says on standard error")
        return done.returncode, done.stdout


def winners_in(lines: Iterable[str], number: int = 7574) -> list[str]:
    """The documents of the winning rows, sorted."""
    return sorted(row.split(",")[2] for row in lines if row.endswith(f",{number}"))
