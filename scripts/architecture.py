"""Draws the picture of docs/architecture.md from the list of arrows below it, or with --check says that it is stale.

An arrow that others imply is left out: where a -> b and b -> c are drawn, a -> c is not. The list has them all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from scripts.outputs import ROOT, write

SRC = ROOT / "src"
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("bets_protocol", "bets_server", "bets_client")

_LIST = re.compile(r"<!-- arrows: begin -->.*?<!-- arrows: end -->", re.DOTALL)
_PICTURE = re.compile(r"(?<=<!-- picture: begin -->\n).*?(?=<!-- picture: end -->)", re.DOTALL)


def arrows(page: str) -> dict[str, set[str]]:
    """The list of the page: what each wing or module may import, by dotted name.

    A name that begins with a dot is in the same package.

    Raises:
        ValueError: a line is there twice.
    """
    found = _LIST.search(page)
    listed: dict[str, set[str]] = {}
    for line in found.group().splitlines() if found else []:
        if "->" not in line:
            continue
        wing, targets = (part.strip() for part in line.split("->"))
        if wing in listed:
            raise ValueError(f"{wing} is listed twice")
        package = wing.partition(".")[0]
        names = [name.strip() for name in targets.split(",") if name.strip()]
        listed[wing] = {package + name if name.startswith(".") else name for name in names}
    return listed


def with_picture(page: str) -> str:
    """The page with the picture that its list asks for."""
    return _PICTURE.sub(lambda _: _picture(arrows(page)), page)


def _picture(listed: Mapping[str, set[str]]) -> str:
    """A Mermaid flowchart of the wings; single modules are left out, but not the arrows that lead through them."""
    lines = ["```mermaid", "flowchart TB"]
    for package in PACKAGES:
        wings = [wing for wing in listed if wing.count(".") == 1 and (SRC / wing.replace(".", "/")).is_dir()]
        wings = [wing for wing in wings if wing.startswith(f"{package}.")]
        below = {wing: {other for other in wings if other != wing and _reaches(wing, other, listed)} for wing in wings}
        lines.append(f"    subgraph {package}")
        lines += [f"        {wing}[{wing.partition('.')[2]}]" for wing in wings]
        for wing, others in below.items():
            implied = set().union(*(below[other] for other in others))
            lines += [f"        {wing} --> {other}" for other in sorted(others - implied)]
        lines.append("    end")
    lines += [f"    {program} --> {PACKAGES[0]}" for program in PACKAGES[1:]]
    return "\n".join([*lines, "```", ""])


def _reaches(wing: str, other: str, listed: Mapping[str, set[str]]) -> bool:
    """Whether `wing` imports something of `other`, at once or through others."""
    seen: set[str] = set()
    waiting = [name for name in listed if _is_in(name, wing)]
    while waiting:
        name = waiting.pop()
        if _is_in(name, other):
            return True
        if name not in seen:
            seen.add(name)
            waiting += listed.get(name, ())
    return False


def _is_in(name: str, wing: str) -> bool:
    return name == wing or name.startswith(f"{wing}.")


def main(arguments: list[str]) -> int:
    """Writes or compares; returns the exit code."""
    return write({PAGE: with_picture(PAGE.read_text(encoding="utf-8"))}, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
