"""Draws the picture of docs/architecture.md from the list of arrows below it, or with --check says that it is stale.

An arrow that others imply is left out: where a -> b and b -> c are drawn, a -> c is not. The list has them all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
PACKAGES = ("bets_protocol", "bets_server", "bets_client")

_LIST = re.compile(r"<!-- arrows: begin -->.*?<!-- arrows: end -->", re.DOTALL)
_PICTURE = re.compile(r"(?<=<!-- picture: begin -->\n).*?(?=<!-- picture: end -->)", re.DOTALL)


def arrows(page: str) -> dict[str, set[str]]:
    """The list of the page: what each room may import, by dotted name.

    A name that begins with a dot is in the room's own package.

    Raises:
        ValueError: a room is listed twice.
    """
    found = _LIST.search(page)
    listed: dict[str, set[str]] = {}
    for line in found.group().splitlines() if found else []:
        if "->" not in line:
            continue
        room, targets = (part.strip() for part in line.split("->"))
        if room in listed:
            raise ValueError(f"{room} is listed twice")
        package = room.partition(".")[0]
        names = [name.strip() for name in targets.split(",") if name.strip()]
        listed[room] = {package + name if name.startswith(".") else name for name in names}
    return listed


def with_picture(page: str) -> str:
    """The page with the picture that its list asks for."""
    return _PICTURE.sub(lambda _: _picture(arrows(page)), page)


def _picture(listed: Mapping[str, set[str]]) -> str:
    lines = ["```mermaid", "flowchart TB"]
    for package in PACKAGES:
        rooms = {room: targets for room, targets in listed.items() if room.startswith(f"{package}.")}
        lines.append(f"    subgraph {package}")
        lines += [f"        {room}[{room.partition('.')[2]}]" for room in rooms]
        for room, targets in rooms.items():
            implied = set().union(*(_reached(target, rooms) for target in targets))
            lines += [f"        {room} --> {target}" for target in sorted((targets & rooms.keys()) - implied)]
        lines.append("    end")
    lines += [f"    {program} --> {PACKAGES[0]}" for program in PACKAGES[1:]]
    return "\n".join([*lines, "```", ""])


def _reached(room: str, rooms: Mapping[str, set[str]]) -> set[str]:
    """What `room` imports, at once or through others."""
    targets = rooms.get(room, set()) & rooms.keys()
    return targets.union(*(_reached(target, rooms) for target in targets))


def main(arguments: list[str]) -> int:
    """Writes or compares; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    drawn = with_picture(page)
    if page != drawn and "--check" in arguments:
        sys.stderr.write(f"docs/{PAGE.name} has a stale picture: run `nox -s generate`\n")
        return 1
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
