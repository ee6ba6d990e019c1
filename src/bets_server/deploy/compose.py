"""Writes the Docker Compose file of the whole system: the server and any number of agencies.

Usage: ``./generar-compose.sh FILE N``, which runs this file with the Python that it finds on the host: 3.8 or later. So
it imports nothing of this project, which need not be installed there, and PyYAML only where it is: current systems
refuse to have it installed by pip. Without it the file is JSON, which YAML 1.2 contains as its flow style.

A file is one draw: it carries the draw's number (the time at which it was written, unless BETS_DRAW says another), and
server and agencies speak of that draw only. Starting the same file again goes on with its draw, also after `docker
compose down`, since the book lies on a named volume; a new file is a new draw in the same book, as a new container was
a new start in the legacy system.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = "tp0"
NETWORK = "testing_net"
SUBNET = "172.25.125.0/24"
MAX_CLIENTS = 251
"""Of the 254 addresses of the network one is the gateway's, one the server's, and one is for validar-echo-server.sh."""

MAX_DRAW = 2**32 - 1

BET_VARIABLES = ("NOMBRE", "APELLIDO", "DOCUMENTO", "NACIMIENTO", "NUMERO")

USAGE = "usage: ./generar-compose.sh FILE N"
EXIT_USAGE = 2

_COUNT = re.compile(r"[0-9]{1,10}")


class Unusable(Exception):
    """The file cannot be written as it was asked for; the text goes to the user."""


def compose_file(clients: int, *, draw: int, root: str = ".") -> dict[str, Any]:
    """What the file holds.

    Args:
        clients: how many agencies, 0 to `MAX_CLIENTS`.
        draw: which draw they bet in, 0 to `MAX_DRAW`.
        root: the path of the project, as it is seen from the folder of the file.
    """
    services = {"server": _server(clients, draw, root)}
    services.update({f"client{agency}": _client(agency, draw, root) for agency in range(1, clients + 1)})
    return {
        "name": PROJECT,
        "services": services,
        "networks": {NETWORK: {"ipam": {"driver": "default", "config": [{"subnet": SUBNET}]}}},
        "volumes": {"book": {}},
    }


def _server(clients: int, draw: int, root: str) -> dict[str, Any]:
    expected = max(1, clients)  # a server without agencies is there to be probed, and waits for one all the same
    return {
        "container_name": "server",
        "image": "server:latest",
        "environment": [
            "PYTHONUNBUFFERED=1",
            # The environment outranks config.ini, so nothing stands here that the file is there to say.
            f"EXPECTED_CLIENTS={expected}",
            f"BETS_DRAW={draw}",
        ],
        "volumes": [f"{root}/server/config.ini:/config.ini:ro", "book:/book"],
        **_confined(),
    }


def _client(agency: int, draw: int, root: str) -> dict[str, Any]:
    return {
        "container_name": f"client{agency}",
        "image": "client:latest",
        "environment": [
            f"CLI_ID={agency}",
            f"AGENCIA={agency}",
            "PYTHONUNBUFFERED=1",
            f"BETS_DRAW={draw}",
            # One bet instead of the file, where the shell that starts the system has it.
            *(f"{name}=${{{name}:-}}" for name in BET_VARIABLES),
        ],
        "volumes": [f"{root}/client/config.yaml:/config.yaml:ro", f"{root}/.data/agency-{agency}.csv:/agency.csv:ro"],
        "depends_on": {"server": {"condition": "service_healthy"}},
        **_confined(),
    }


def _confined() -> dict[str, Any]:
    """What both get: the network, and no more rights than they need."""
    return {
        "networks": [NETWORK],
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": {"core": 0},
    }


def write_compose(file: Path, clients: int, *, draw: int, project: Path) -> list[str]:
    """Write the file whole or not at all, and an empty data file for each agency that has none.

    Docker would make a folder where a mounted file is missing. An empty one says that there is nothing to send yet.

    Returns:
        What the user should know before the system starts, a line each.

    Raises:
        Unusable: something cannot be written or mounted; the file is what it was.
    """
    settings = [project / "server" / "config.ini"] + [project / "client" / "config.yaml"] * bool(clients)
    data = [project / ".data" / f"agency-{agency}.csv" for agency in range(1, clients + 1)]
    try:
        target = Path(os.path.realpath(file))
        root = os.path.relpath(project, target.parent)
        text = _as_yaml(compose_file(clients, draw=draw, root=root if root.startswith(".") else f"./{root}"))
        _refuse_folders([*settings, *data])
        with _replacing(file, target, text):
            _add_data_files(project / ".data", data)
        return _notes(settings, data)
    except OSError as error:
        raise Unusable(f"{file}: cannot write it: {error.strerror or error}") from error


def _as_yaml(holds: Mapping[str, Any]) -> str:
    try:
        import yaml  # noqa: PLC0415 - the host's Python may lack it
    except ImportError:
        said = "in the JSON style of YAML, since its Python has no PyYAML"
        return f"# Written by generar-compose.sh, {said}.\n{json.dumps(holds, indent=2, ensure_ascii=False)}\n"
    return "# Written by generar-compose.sh.\n" + str(yaml.safe_dump(holds, sort_keys=False))


def _refuse_folders(mounted: Sequence[Path]) -> None:
    for path in mounted:
        if path.is_dir():
            raise Unusable(
                f"{path}: is a folder, as Docker makes one where a mounted file is missing; "
                f"remove it and try again: sudo rmdir {shlex.quote(str(path))}"
            )


def _add_data_files(folder: Path, files: Sequence[Path]) -> None:
    try:
        folder.mkdir(exist_ok=True)
        for path in files:
            if not path.exists():
                path.touch()
    except OSError as error:
        raise Unusable(f"{error.filename}: cannot make it: {error.strerror or error}") from error


def _notes(settings: Sequence[Path], data: Sequence[Path]) -> list[str]:
    """What keeps the system from working, although its file could be written."""
    notes = [f"{path}: is missing, and Docker would make a folder of it" for path in settings if not path.exists()]
    mounted = {path: path.stat() for path in [*settings, *data] if path.exists()}
    # Elsewhere the engine runs in a machine of its own, whose users are other ones.
    closed = [path for path, found in mounted.items() if not found.st_mode & stat.S_IROTH and sys.platform == "linux"]
    if closed:
        notes.append(f"{_few(closed)}: cannot be read by user 10001 of the containers: chmod o+r")
    empty = [path for path in data if mounted[path].st_size == 0]
    if empty and len(empty) < len(data):  # without any data yet, everybody is to probe
        notes.append(f"{_few(empty)}: no bets in there, and the draw waits for every agency")
    return notes


def _few(paths: Sequence[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


@contextlib.contextmanager
def _replacing(file: Path, target: Path, text: str) -> Iterator[None]:
    """Put `text` in the place of a file in one step, once the block has ended well; before it is sure that it can be.

    Args:
        file: as it was given.
        target: what it leads to; nothing where that is a pipe.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | 0o666 & ~_umask()
    else:
        file.open("a").close()  # replacing a file, below, asks for no right to write to it
    if not stat.S_ISREG(mode):  # /dev/stdout and the like
        file.write_text(text, encoding="utf-8")
        yield
        return
    descriptor, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as written:
            written.write(text)
        os.chmod(partial, mode & 0o777)
        yield
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _count_of(text: str, what: str, high: int) -> int:
    if _COUNT.fullmatch(text) is None or int(text) > high:
        raise Unusable(f"{what} is {text!r}: expected a whole number from 0 to {high}")
    return int(text)


def run(arguments: Sequence[str], environ: Mapping[str, str], project: Path) -> int:
    """Do what the command line asks; gives the exit code: 0, or 2 with one line on standard error.

    Args:
        project: the folder with `server/`, `client/` and `.data/`.
    """
    try:
        if len(arguments) != 2 or not all(arguments):
            raise Unusable(USAGE)
        file, count = arguments
        clients = _count_of(count, "N", MAX_CLIENTS)
        given = environ.get("BETS_DRAW")
        draw = _count_of(given, "BETS_DRAW", MAX_DRAW) if given else int(time.time())
        notes = write_compose(Path(file), clients, draw=draw, project=project)
    except (Unusable, ValueError) as error:  # ValueError: a NUL in the path
        print(f"generar-compose.sh: {error}", file=sys.stderr)
        return EXIT_USAGE
    for note in notes:
        print(f"generar-compose.sh: {note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ, Path(__file__).resolve().parents[3]))
