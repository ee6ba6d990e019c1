"""The project's chores: `nox -l` lists them, `nox -s NAME` runs one.

Every session makes its own environment under `.nox/` and installs what it needs from `pyproject.toml`; none looks at
the environment that nox itself runs in. A Python version that is not on the machine is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

PROJECT = Path(__file__).resolve().parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

# More processes than cores: most tests wait for sockets, processes and disks. Each has to collect them all, though. One
# that has run out of tests takes over half of another's: those with real programs stand together and take long.
PYTEST = ("-m", "pytest", "-n", "4", "--dist", "worksteal")

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs"]


def _show_pyenv_versions() -> None:
    """Make every version that pyenv has findable: by itself it hides all but the chosen one."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    if versions.is_dir() and "PYENV_VERSION" not in os.environ:
        # The one in use first, so that plain `python3` stays what it is.
        names = sorted((path.name for path in versions.iterdir()), key=lambda name: name not in sys.base_prefix)
        os.environ["PYENV_VERSION"] = ":".join(names)


_show_pyenv_versions()

# Programs keep what they have compiled, as Python does unless told otherwise. Without that each program that a session
# starts compiles all that it imports, and each process of tests rewrites them all: a third of the tests' work.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _install(session: nox.Session, *groups: str) -> None:
    """Install the project as it stands in the tree, and the dependency groups."""
    requirements = [name for group in groups for name in nox.project.dependency_groups(PYPROJECT, group)]
    session.install("-e", ".", *requirements)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; what follows `--` goes to pytest."""
    _install(session, "test")
    _tested.append(str(session.python))
    # All random examples once; on the other Pythons a share of them, see tests/effort.py.
    effort = {} if len(_tested) == 1 else {"HYPOTHESIS_PROFILE": "few"}
    session.run("python", *PYTEST, *session.posargs, env=effort)


_tested: list[str] = []
"""The Pythons that this run of nox has tested on so far."""


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and measure branches, in the programs that they start too; fails under 95 %."""
    _install(session, "test")
    session.run("coverage", "erase")
    # What is measured is what the tests reach; to find something with random examples is up to the session `tests`.
    session.run("coverage", "run", *PYTEST, *session.posargs, env={"HYPOTHESIS_PROFILE": "few"})
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and that nothing in `src` is unused; `nox -s lint -- --fix` mends what can be mended."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    session.run("vulture")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types: of everything with mypy, strictly; of `src` and of programs of others with basedpyright too."""
    _install(session, "types")
    session.run("mypy", *session.posargs)
    # By itself it takes the packages of `.venv` in the tree, if that exists, and not this session's.
    session.run("basedpyright", "--pythonpath", str(Path(session.bin) / "python"))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation and the next section of the change log, run the examples; a warning is an error."""
    _install(session, "docs")
    session.run("towncrier", "build", "--draft")
    for builder in ("html", "doctest"):
        session.run(
            *("python", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder),
            *("-d", "docs/_build/doctrees", "docs", f"docs/_build/{builder}"),
        )
    session.log(f"open {PROJECT / 'docs' / '_build' / 'html' / 'index.html'}")


@nox.session
def generate(session: nox.Session) -> None:
    """Write what is generated: the codec, the tables of the documentation, the picture of the architecture."""
    _install(session)
    session.run("python", "-m", "scripts.generate", *session.posargs)
    session.run("python", "-m", "scripts.architecture", *session.posargs)
    session.run("python", "-m", "scripts.conformance_kit", *session.posargs)


@nox.session
def differential(session: nox.Session) -> None:
    """Compare construct, the pure and the native codec, on our frames and on 500 made-up declarations."""
    _install(session, "test")
    session.run("python", "-m", "fuzz.differential", "--frames", "100000", *session.posargs)
    session.run("python", "-m", "fuzz.declared", "--declarations", "500", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Decode ten million bets with each codec: the memory must stay flat."""
    _install(session, "test")
    session.run("python", "-m", "benchmarks.soak", *session.posargs)
    session.run("python", "-m", "benchmarks.soak", *session.posargs, env={"BETS_PURE": "1"})


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the native codec under AddressSanitizer, UndefinedBehaviorSanitizer and valgrind."""
    _install(session, "test")
    session.run("python", "scripts/sanitize.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure codec, intake, windows and scale against their peers: `nox -s bench -- intake`, `-- --quick`."""
    _install(session, "bench", "test")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try new bytes on whatever reads bytes of others: `nox -s fuzz -- --seconds 60`, `-- --target T --seed S`."""
    _install(session, "test")
    # What follows coverage. It has wheels for some Pythons only; without it hypothesis makes the inputs, and says so.
    session.install("--only-binary", "atheris", "atheris>=3.0", success_codes=[0, 1, 2])
    session.run("python", "-m", "pytest", "-q", "tests/fuzzing")
    session.run("python", "-m", "fuzz", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, cut off and mislead real programs: `nox -s faults -- --trials 200 --seed 7`, `-- --replay KIND:SEED`."""
    _install(session, "test")
    session.run("python", "-m", "tests.campaigns.faults", *session.posargs)


@nox.session
def attacks(session: nox.Session) -> None:
    """Attack a real server while an honest client works: `nox -s attacks -- --only 20`, `-- --minutes 120` soaks it."""
    _install(session, "test")
    session.run("python", "-m", "tests.campaigns.attacks", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Seed bugs, one at a time: each must be caught, for the right reason."""
    _install(session, "test")
    session.run("python", "-m", "tests.campaigns.faults.mutants", *session.posargs)


@nox.session
def compose(session: nox.Session) -> None:
    """Do the eight steps in containers: `nox -s compose -- --only NAME`; left out where no Docker engine answers."""
    docker = shutil.which("docker")
    for command in ("info",), ("compose", "version"):
        if docker is None or subprocess.run([docker, *command], capture_output=True, check=False).returncode:
            session.skip(f"no Docker engine answers: `docker {' '.join(command)}` fails")
    _install(session, "test")
    session.run("python", "-m", "tests.campaigns.containers", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Five agencies, 100,000 made-up bets, one server, one draw: the whole job on this machine."""
    _install(session)
    session.run("python", "scripts/demo.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheels (native and pure) into dist/, then do the whole job with each, far from the tree."""
    session.install("build[uv]", "uv")
    dist = PROJECT / "dist"
    for old in dist.glob("bets_protocol-*"):
        old.unlink()
    arguments = ("--installer", "uv", "--outdir", str(dist))
    session.run("python", "-m", "build", *arguments)
    (native,) = dist.glob("*.whl")
    session.run("python", "-m", "build", "--wheel", *arguments, env={"BETS_PURE": "1"})
    (pure,) = (wheel for wheel in dist.glob("*.whl") if wheel != native)
    if not pure.name.endswith("-py3-none-any.whl"):
        session.error(f"the pure wheel is for one platform only: {pure.name}")
    without = "pure codec: it was not built"
    _smoke(session, pure, codec=without)
    _smoke(session, native, codec="native codec" if shutil.which(os.environ.get("CC", "cc")) else without)
    # Where there is no C compiler the extension is left out, without an error.
    with tempfile.TemporaryDirectory(prefix="bets-wheel-") as folder:
        arguments = ("--installer", "uv", "--outdir", folder)
        session.run("python", "-m", "build", "--wheel", *arguments, env={"CC": "/nonexistent/cc"}, silent=True)
        (wheel,) = Path(folder).glob("*.whl")
        _smoke(session, wheel, codec=without)


def _smoke(session: nox.Session, wheel: Path, *, codec: str) -> None:
    """Install `wheel` where nothing but it can be found, see that `codec` runs, and do the whole job."""
    with tempfile.TemporaryDirectory(prefix="bets-smoke-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        # The interpreter itself, not this session's environment, so that nothing but the wheel can be found.
        session.run("uv", "venv", "-q", "-p", sys.executable, str(folder / "venv"))
        session.run("uv", "pip", "install", "-q", "--python", str(python), str(wheel))
        smoke = str(PROJECT / "scripts" / "demo.py")
        with session.chdir(folder):
            for program in ("bets-server", "bets-client"):
                shown = session.run(str(python.parent / program), "--version", external=True, silent=True)
                if codec not in str(shown):
                    session.error(f"{wheel.name}: expected the {codec}, {program} --version says {shown}")
            arguments = ("--agencies", "2", "--bets", "5000", "--seed", "2", "--folder", str(folder / "data"))
            session.run(str(python), "-I", smoke, *arguments, external=True)
