"""The bounds of the server: what a user may set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from bets_protocol import ConfigError
from bets_protocol.cli.settings import Setting
from bets_server.config import LIMIT_SETTINGS, load_settings
from bets_server.limits import Limits


@pytest.mark.parametrize("bound", LIMIT_SETTINGS, ids=lambda bound: bound.name)
def test_each_limit_can_be_set(bound: Setting, tmp_path: Path) -> None:
    """By its option, in the environment, in the file; what is no number is refused where it stands."""
    text = f"{bound.default + 1:g}"
    whole = isinstance(bound.default, int)
    changed: dict[str, Any] = {bound.name if whole else f"{bound.name}_s": bound.default + 1}
    expected = attrs.evolve(Limits(), **changed)
    name = bound.name.upper()
    path = tmp_path / "config.ini"
    path.write_text(f"[DEFAULT]\n{name} = {text}\n")
    assert load_settings({bound.name: text}, {}).limits == expected
    assert load_settings({}, {f"BETS_{name}": text}).limits == expected
    assert load_settings({"config": str(path)}, {}).limits == expected
    with pytest.raises(ConfigError) as caught:
        load_settings({bound.name: "0"}, {})
    what = "a whole number from 1 to" if whole else "a number from 0.1 to"
    assert str(caught.value).startswith(f"--{bound.name.replace('_', '-')}: '0': expected {what}")


def test_thirteen_limits_can_be_set() -> None:
    """The other bounds of `Limits` have no option."""
    assert len(LIMIT_SETTINGS) == 13


def test_defaults() -> None:
    """Those of the class, where nothing is set."""
    assert load_settings({}, {}).limits == Limits()
