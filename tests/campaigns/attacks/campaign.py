"""A campaign: one attack after the other, never two at once since they are measured, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from tests.campaigns.attacks import floods, slow, volume
from tests.campaigns.attacks.kinds import TRIES, Attack, Finding, tried

ATTACKS = {
    attack.name: attack
    for attack in (
        Attack(name="slow-loris", row="20", run=slow.slow_loris),
        Attack(name="slow-handshake", row="20", run=slow.slow_handshake),
        Attack(name="slow-behind-tls", row="20", run=slow.slow_behind_tls),
        Attack(name="byte-drip", row="21", run=slow.byte_drip),
        Attack(name="never-reads", row="22", run=slow.never_reads),
        Attack(name="sips", row="22", run=slow.sips),
        Attack(name="no-descriptors", row="23", run=floods.out_of_descriptors),
        Attack(name="no-places", row="23", run=floods.no_places_left),
        Attack(name="accept-burst", row="23", run=floods.accept_burst),
        Attack(name="key-changes", row="23", run=floods.key_changes),
        Attack(name="large-file", row="29", run=volume.large_file),
        Attack(name="connections", row="29", run=volume.many_connections),
        Attack(name="parked", row="scale", run=volume.parked, obstacle=volume.without_descriptors),
    )
}


@attrs.define
class Tally:
    """What one attack came to.

    Attributes:
        findings: one for each try; the last one counts.
        strict: to have slowed the honest client down is a failure like any other.
    """

    attack: Attack
    strict: bool = False
    skipped: str = ""
    findings: list[Finding] = attrs.Factory(list)

    @property
    def failed(self) -> bool:
        """Whether something did not hold."""
        return bool(self.findings and self.findings[-1].error and (self.strict or not self.findings[-1].only_slow))

    @property
    def rows(self) -> list[str]:
        """Its lines of the table."""
        head = f"{self.attack.name:<16} {self.attack.row:<6}"
        if self.skipped:
            return [f"{head} skipped: {self.skipped}"]
        last = self.findings[-1]
        pace = last.pace
        told = "-"
        if pace:
            told = f"{pace.usual_ms:>8.1f} {pace.attacked_ms:>9.1f} {pace.ratio:>6.2f} {pace.noise:>6.2f}"
            told += f" {pace.waited_s:>6.1f}"
        verdict = "MISSED" if self.failed else "slow" if last.error else "held"
        first = f"{head} {verdict:<7} {told:>39} {len(self.findings):>5} {last.seconds:>8.1f}"
        return [first, *(f"{'':<23} {note}" for note in last.notes)]


HEAD = (
    f"{'attack':<16} {'row':<6} {'':<7} {'p99 ms':>8} {'attacked':>9} {'ratio':>6} {'noise':>6} "
    f"{'waited':>6} "
    f"{'tries':>5} {'seconds':>8}"
)


def chosen(only: Sequence[str]) -> list[Attack]:
    """The attacks of some names or rows; all of them where none is given.

    Raises:
        KeyError: there is no such thing.
    """
    for each in only:
        if not any(each in (attack.name, attack.row) for attack in ATTACKS.values()):
            raise KeyError(each)
    return [attack for attack in ATTACKS.values() if not only or attack.name in only or attack.row in only]


def run_campaign(
    attacks: Sequence[Attack], *, seconds: float, keep: Path | None, say: Callable[[str], None], strict: bool = False
) -> bool:
    """Runs attacks and says how it went.

    Args:
        seconds: as for `Scene`.
        keep: a folder for what failing attacks leave behind.
        strict: as in `Tally`.

    Returns:
        Whether everything held.
    """
    began = time.monotonic()
    tallies = [Tally(attack, skipped=attack.obstacle(), strict=strict) for attack in attacks]
    for tally in tallies:
        if not tally.skipped:
            _try(tally, seconds, keep, say)
    say(HEAD)
    for tally in tallies:
        for row in tally.rows:
            say(row)
    failures = [tally.attack.name for tally in tallies if tally.failed]
    slow = sum(bool(tally.findings) and tally.findings[-1].only_slow for tally in tallies)
    told = f"; {slow} slowed the honest client down more than twice" if slow else ""
    say(f"{len(failures)} of {len(tallies)} did not hold{told}; {time.monotonic() - began:.0f} s")
    for name in failures:
        say(f"again: python -m tests.campaigns.attacks --only {name}")
    return not failures


def _try(tally: Tally, seconds: float, keep: Path | None, say: Callable[[str], None]) -> None:
    for _ in range(TRIES if tally.strict else 1):
        finding = tried(tally.attack, seconds, keep)
        tally.findings.append(finding)
        notes = "; ".join([*([str(finding.pace)] if finding.pace else []), *finding.notes])
        say(f"{tally.attack.name}: {notes or 'nothing was measured'}")
        if finding.error:
            say(finding.error)
        if not finding.only_slow:
            return
