"""The bounds of the server: what the page says of them, and what a user may set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from bets_protocol import ConfigError
from bets_server.config import load_settings
from bets_server.limits import LIMIT_OPTIONS, LimitOption, Limits

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_page_lists_the_limits() -> None:
    """The table of docs/operations.md is this one; when it is not, paste what is expected."""
    rows = ["| option | default | bounds |", "|---|---|---|"]
    for option in LIMIT_OPTIONS:
        unit = "N" if option.whole else "SECONDS"
        name = option.name.replace("_", "-")
        rows.append(f"| `--{name} {unit}` | {option.default:g} | {'' if option.whole else 'seconds '}{option.text} |")
    shown = PAGE.read_text(encoding="utf-8").partition("<!-- limits: begin -->\n")[2]
    assert shown.partition("\n<!-- limits: end -->")[0] == "\n".join(rows)


@pytest.mark.parametrize("option", LIMIT_OPTIONS, ids=lambda option: option.name)
def test_each_limit_can_be_set(option: LimitOption, tmp_path: Path) -> None:
    """By its option, in the environment, in the file; what is no number is refused where it stands."""
    text = f"{option.default + 1:g}"
    changed: dict[str, Any] = {option.field: option.default + 1}
    expected = attrs.evolve(Limits(), **changed)
    name = option.name.upper()
    path = tmp_path / "config.ini"
    path.write_text(f"[DEFAULT]\n{name} = {text}\n")
    assert load_settings({option.name: text}, {}).limits == expected
    assert load_settings({}, {f"BETS_{name}": text}).limits == expected
    assert load_settings({"config": str(path)}, {}).limits == expected
    with pytest.raises(ConfigError) as caught:
        load_settings({option.name: "0"}, {})
    what = "a whole number from 1 to" if option.whole else "a number from 0.1 to"
    assert str(caught.value).startswith(f"--{option.name.replace('_', '-')}: '0': expected {what}")


def test_defaults() -> None:
    """Those of the class, where nothing is set."""
    assert load_settings({}, {}).limits == Limits()
