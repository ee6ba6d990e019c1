"""Docker's command line: every call has a deadline, and a failed one shows what was said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

DEFAULT_BASE = "python:3.13-slim"
"""What the Dockerfiles are built on unless told otherwise."""

_BASE_VARIABLE = "BETS_BASE_IMAGE"
_OURS = re.compile(r"(BETS|CLI|SERVER)_|(AGENCIA|NOMBRE|APELLIDO|DOCUMENTO|NACIMIENTO|NUMERO)$|COMPOSE_")
_NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"


class Failed(Exception):
    """Something did not hold; the text says what."""


def environment(**ours: str) -> dict[str, str]:
    """This process's environment without what would set the programs or Compose, and with `ours`."""
    return {name: value for name, value in os.environ.items() if not _OURS.match(name)} | ours


def call(
    *command: str, within_s: float = 60, code: int | None = 0, env: Mapping[str, str] | None = None, cwd: str = "."
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        code: the exit code that it must have; None: any.

    Raises:
        Failed: it had another, or did not end in time.
    """
    what = " ".join(command)[:200]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=within_s,
            check=False,
            env=environment() if env is None else dict(env),
            cwd=cwd,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{what}: not done after {within_s:g} s") from None
    if code is not None and done.returncode != code:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise Failed(f"{what}: exit code {done.returncode}, expected {code}:\n{said}")
    return done


def docker(*arguments: str, within_s: float = 60, code: int | None = 0) -> str:
    """What `docker` prints to standard output.

    Raises:
        Failed: as `call`.
    """
    return call("docker", *arguments, within_s=within_s, code=code).stdout


def missing() -> str | None:
    """Why nothing can run here; None: it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command in (["info"], ["compose", "version"]):
        try:
            call("docker", *command, within_s=30)
        except Failed as error:
            return f"no engine answers: {str(error).splitlines()[0]}"
    return None


def base_image() -> str:
    """An image with Python 3.11 or later: the one that the environment names, one that is here, or the default."""
    if named := os.environ.get(_BASE_VARIABLE):
        return named
    here = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "python").split()
    for image in sorted(here, key=lambda name: name != DEFAULT_BASE):
        if call("docker", "run", "--rm", image, "python3", "-c", _NEW_ENOUGH, code=None).returncode == 0:
            return image
    return DEFAULT_BASE
