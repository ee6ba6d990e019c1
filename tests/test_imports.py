"""The direction of the arrows: `src/` imports only what docs/architecture.md draws.

The page lists, wing by wing, what each may import. A module belongs to the longest name that it begins with. The
standard library is free to all, but for the few modules that would bring a socket, a thread or a clock into the
library's core. What must hold whatever the page says (server and client do not import each other, construct behind its
door) is asserted here too, so that editing the page cannot open it.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

from scripts.architecture import PACKAGES as OURS
from scripts.architecture import PAGE, arrows, with_picture

PROJECT = Path(__file__).resolve().parent.parent
SRC = PROJECT / "src"

# Only the wings that exist to deal with these may import them.
OUTSIDE_WORLD = {
    "_thread",
    "asyncio",
    "concurrent",
    "multiprocessing",
    "queue",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
}
MAY_TOUCH_IT = (
    "bets_protocol.aio",
    "bets_protocol.client",
    "bets_protocol.transports",
    "bets_protocol.conformance",
    "bets_protocol.testing",
    "bets_protocol.cli",
)


def _files() -> dict[str, Path]:
    """Every module of `src/` by its dotted name."""
    found = {}
    for package in OURS:
        for path in sorted((SRC / package).rglob("*.py*")):  # with the stub of what is written in C
            if path.suffix not in {".py", ".pyi"}:
                continue
            parts = path.relative_to(SRC).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = _files()


@functools.cache  # each of four tests asks for each module
def _imports(module: str) -> list[tuple[str, int]]:
    """What `module` imports, wherever in the file, as (dotted name, line); names of modules rather than of contents."""
    path = FILES[module]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.append((full if full in FILES else base, node.lineno))
    return found


DRAWN = arrows(PAGE.read_text(encoding="utf-8"))


def _inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _wing(module: str) -> str | None:
    # The three packages themselves are doors: a module inside one is not in the door.
    return max(
        (wing for wing in DRAWN if module == wing or (_inside(module, (wing,)) and wing not in OURS)),
        key=len,
        default=None,
    )


@pytest.mark.parametrize("module", FILES)
def test_module_imports_only_what_the_page_draws(module: str) -> None:
    """No arrow in the code that the page does not draw."""
    wing = _wing(module)
    assert wing is not None, f"{module} is in no wing of {PAGE.name}"
    undrawn: dict[str, None] = {}
    for target, line in _imports(module):
        top = target.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        to = _wing(target) if top in OURS else top
        if to != wing and to not in DRAWN[wing]:
            undrawn[f"{FILES[module].relative_to(PROJECT)}:{line}: {wing} -> {to or target}"] = None
    assert not undrawn, "arrows that docs/architecture.md does not draw:\n" + "\n".join(undrawn)


def test_every_room_of_the_page_exists() -> None:
    """The page draws no wing, and no arrow to a wing, that is not in the code."""
    wings = {name for name in DRAWN.keys() | set().union(*DRAWN.values()) if name.split(".")[0] in OURS}
    assert sorted(wings - FILES.keys()) == []


def test_the_arrows_of_the_page_point_one_way() -> None:
    """The wings form no ring."""
    try:
        graphlib.TopologicalSorter(DRAWN).prepare()
    except graphlib.CycleError as error:
        pytest.fail("a ring of wings: " + " -> ".join(reversed(error.args[1])), pytrace=False)


def test_the_picture_shows_the_list() -> None:
    """The picture is drawn from the list; `nox -s generate` draws it again."""
    text = PAGE.read_text(encoding="utf-8")
    assert with_picture(text) == text


@pytest.mark.parametrize("module", [name for name, path in FILES.items() if not path.stem.startswith("_")])
def test_every_module_has_its_line(module: str) -> None:
    """The tables of the page name each module or its folder. One with an underscore is a part of its neighbour."""
    package, _, name = module.partition(".")
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {package}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {text.removesuffix(".*") for cell in cells for text in re.findall(r"`([^`]+)`", cell)}
    assert any(name == each or name.startswith(f"{each}.") for each in named)


@pytest.mark.parametrize("module", FILES)
def test_server_and_client_are_strangers(module: str) -> None:
    """The server never imports the client, nor the client the server, nor the library either of them."""
    forbidden = {"bets_protocol": OURS[1:], "bets_server": ("bets_client",), "bets_client": ("bets_server",)}
    bad = [target for target, _ in _imports(module) if _inside(target, forbidden[module.split(".")[0]])]
    assert bad == []


@pytest.mark.parametrize("module", FILES)
def test_construct_stays_behind_its_door(module: str) -> None:
    """Only the declarations and the compiler import construct."""
    if module == "bets_protocol.schema" or _inside(module, ("bets_protocol.compiler",)):
        return
    assert [target for target, _ in _imports(module) if _inside(target, ("construct",))] == []


@pytest.mark.parametrize("module", [name for name in FILES if _inside(name, ("bets_protocol",))])
def test_the_core_touches_no_socket_thread_or_clock(module: str) -> None:
    """Outside transports, testing and programs the library is bytes and rules only."""
    if _inside(module, MAY_TOUCH_IT):
        return
    assert [target for target, _ in _imports(module) if target.split(".")[0] in OUTSIDE_WORLD] == []
