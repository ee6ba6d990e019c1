"""Writes the Docker Compose file of the whole system: the server and any number of agencies.

Usage: ``./generar-compose.sh FILE N``, which runs this file with the Python of the host: 3.8 or later. So it imports
nothing of this project, which may not be installed there, and uses PyYAML only if it is installed: current systems do
not let pip install it. Without it the file is JSON, which is also YAML 1.2.

A file is one draw: it contains the draw's number (BETS_DRAW, or else the time at which it was written), which server
and agencies use. Starting the same file again continues its draw, also after `docker compose down`, since the store is
on a named volume. A new file is a new draw in the same store.
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
"""The network has 254 addresses: the others are the gateway's, the server's and that of validar-echo-server.sh."""

BET_VARIABLES = ("NOMBRE", "APELLIDO", "DOCUMENTO", "NACIMIENTO", "NUMERO")


class Unusable(Exception):
    """The file cannot be written as requested; the text is for the user."""


def compose_file(clients: int, *, draw: int, root: str = ".") -> dict[str, Any]:
    """The content of the file.

    Args:
        clients: how many agencies, 0 to `MAX_CLIENTS`.
        draw: the draw's number.
        root: the path of the project, relative to the folder of the file.
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
    return {
        "container_name": "server",
        "image": "server:latest",
        "environment": [
            "PYTHONUNBUFFERED=1",
            # The environment outranks config.ini, so whatever users set in that file is not set here.
            f"EXPECTED_CLIENTS={max(1, clients)}",  # without agencies the server is only probed, but needs a number
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
            # One bet instead of the data file, if these are set in the shell that starts the system.
            *(f"{name}=${{{name}:-}}" for name in BET_VARIABLES),
        ],
        "volumes": [f"{root}/client/config.yaml:/config.yaml:ro", f"{root}/.data/agency-{agency}.csv:/agency.csv:ro"],
        "depends_on": {"server": {"condition": "service_healthy"}},
        **_confined(),
    }


def _confined() -> dict[str, Any]:
    """The network, and the restrictions of both containers."""
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

    Docker makes a folder where a mounted file is missing. An empty file means that there is nothing to send yet.

    Returns:
        Warnings, a line each.

    Raises:
        Unusable: something cannot be written or mounted; the file is unchanged.
    """
    settings = [project / "server" / "config.ini"] + [project / "client" / "config.yaml"] * bool(clients)
    data = [project / ".data" / f"agency-{agency}.csv" for agency in range(1, clients + 1)]
    try:
        target = Path(os.path.realpath(file))
        root = os.path.relpath(project, target.parent)
        text = _as_yaml(compose_file(clients, draw=draw, root=root if root.startswith(".") else f"./{root}"))
        for path in (*settings, *data):
            if path.is_dir():
                raise Unusable(
                    f"{path}: is a folder, as Docker makes one where a mounted file is missing; "
                    f"remove it and try again: sudo rmdir {shlex.quote(str(path))}"
                )
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


def _add_data_files(folder: Path, files: Sequence[Path]) -> None:
    try:
        folder.mkdir(exist_ok=True)
        for path in files:
            if not path.exists():
                path.touch()
    except OSError as error:
        raise Unusable(f"{error.filename}: cannot make it: {error.strerror or error}") from error


def _notes(settings: Sequence[Path], data: Sequence[Path]) -> list[str]:
    """What keeps the system from working although its file was written."""
    notes = [f"{path}: is missing, and Docker would make a folder of it" for path in settings if not path.exists()]
    mounted = {path: path.stat() for path in [*settings, *data] if path.exists()}
    # On other systems the engine runs in a virtual machine, which has its own users.
    closed = [path for path, found in mounted.items() if not found.st_mode & stat.S_IROTH and sys.platform == "linux"]
    if closed:
        notes.append(f"{_few(closed)}: cannot be read by user 10001 of the containers: chmod o+r")
    empty = [path for path in data if mounted[path].st_size == 0]
    if empty and len(empty) < len(data):  # without any data, the system is only probed
        notes.append(f"{_few(empty)}: no bets in there, and the draw waits for every agency")
    return notes


def _few(paths: Sequence[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


@contextlib.contextmanager
def _replacing(file: Path, target: Path, text: str) -> Iterator[None]:
    """Replace a file by `text` in one step at the end of the block; errors come before the block.

    Args:
        file: as it was given.
        target: the path without symbolic links; of no use if the file is a pipe.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        mode = stat.S_IFREG | 0o666 & ~mask
    else:
        file.open("a").close()  # checks the permission to write to it, which replacing it does not need
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


def _count_of(text: str, what: str, high: int) -> int:
    if re.fullmatch(r"[0-9]{1,10}", text) is None or int(text) > high:
        raise Unusable(f"{what} is {text!r}: expected a whole number from 0 to {high}")
    return int(text)


def run(arguments: Sequence[str], environ: Mapping[str, str], project: Path) -> int:
    """Run the command line and return the exit code: 0, or 2 with one line on standard error.

    Args:
        project: the folder with `server/`, `client/` and `.data/`.
    """
    try:
        if len(arguments) != 2 or not all(arguments):
            raise Unusable("usage: ./generar-compose.sh FILE N")
        file, count = arguments
        clients = _count_of(count, "N", MAX_CLIENTS)
        given = environ.get("BETS_DRAW")
        draw = _count_of(given, "BETS_DRAW", 2**32 - 1) if given else int(time.time())
        notes = write_compose(Path(file), clients, draw=draw, project=project)
    except (Unusable, ValueError) as error:  # ValueError: a NUL in the path
        print(f"generar-compose.sh: {error}", file=sys.stderr)
        return 2
    for note in notes:
        print(f"generar-compose.sh: {note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ, Path(__file__).resolve().parents[3]))
