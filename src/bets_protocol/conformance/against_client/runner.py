"""The loop of a server that checks a client: it plays one scenario after the other, and knows when one is over.

Where it starts the client itself, a run is over when the program has ended. Else it is over when every connection has
ended and nothing has come for a while. One thread does it all.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from bets_protocol import ConfigError
from bets_protocol.cli.signals import interruptible, raise_if_stopped
from bets_protocol.conformance.against_client.peer import Peer
from bets_protocol.conformance.against_client.rules import RULES, ClientReport
from bets_protocol.conformance.against_client.run import MAX_RETURNS, Run
from bets_protocol.conformance.against_client.scenarios import Scenario
from bets_protocol.conformance.report import Finding
from bets_protocol.transports import Listener, parse_url

_TICK_S = 0.01
"""Seconds after which it is looked whether the program has ended."""

_LEFT_S = 1.0
"""Seconds that connections of a program may outlive it."""

_STDERR = 2


class Client(Protocol):
    """A client that runs: what `subprocess.Popen` offers of it."""

    @property
    def returncode(self) -> int | None:
        """How it has ended; None: it has not, or it was not looked."""

    def poll(self) -> int | None:
        """Looks how it has ended; None: it has not."""

    def kill(self) -> None:
        """Ends it."""

    def wait(self) -> int:
        """Waits for its end."""
        ...


_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)\}")
"""What looks like a place to fill in; `${HOME}` is the shell's."""


def placeholders(url: str) -> dict[str, str]:
    """What can be filled in for a listener at `url`; one without a host has no `{host}` and no `{port}`."""
    parts = parse_url(url)
    found = {"url": str(parts)}
    return found if parts.port is None else {**found, "host": parts.host, "port": str(parts.port)}


def unknown_placeholders(command: Sequence[str], url: str) -> list[str]:
    """Those in `command` that nothing is known to fill in for."""
    known = placeholders(url)
    return [name for word in command for name in _PLACEHOLDER.findall(word) if name not in known]


def program(command: Sequence[str], listener: Listener) -> Client:
    """Starts a client's program.

    Args:
        command: its words, with placeholders that are known.

    Raises:
        ConfigError: it cannot be started.
    """
    places = placeholders(listener.url)
    words = [_PLACEHOLDER.sub(lambda match: places[match[1]], word) for word in command]
    try:
        # Standard output is for the table.
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=_STDERR)
    except OSError as error:
        raise ConfigError(f"cannot start {words[0]!r}: {error.strerror or error}") from error


@attrs.define(kw_only=True)
class Runner:
    """Checks a client.

    Attributes:
        listener: where it comes to.
        revision: what it should speak.
        scenarios: what is played, in order; of the first the others are a variation.
        start: starts the client, once for each scenario; None: somebody else does.
        quiet_s: seconds of silence that end a run of a client that somebody else has started.
        limit_s: seconds of silence after which a run is given up.
        say: tells the user what happens.
    """

    listener: Listener
    revision: int
    scenarios: Sequence[Scenario]
    start: Callable[[], Client] | None = None
    quiet_s: float = 2.0
    limit_s: float = 30.0
    notify: Callable[[str], None]
    _report: ClientReport = attrs.field(init=False)
    _peers: list[Peer] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        rules = (*RULES, *(scenario.rule for scenario in self.scenarios))
        self._report = ClientReport(tuple(rule for rule in rules if self.revision in rule.revisions))

    def findings(self) -> list[Finding]:
        """What is known now."""
        return self._report.findings()

    def play(self) -> None:
        """Plays every scenario.

        Raises:
            ConfigError: the command cannot be started.
            Stopped: the program was asked to stop.
        """
        first: Run | None = None
        for number, scenario in enumerate(self.scenarios, start=1):
            self.notify(f"scenario {scenario.name} ({number} of {len(self.scenarios)}): {scenario.says}")
            run = self._play(scenario)
            first = first or run
            run.end()
            if run.spoiled:
                continue  # what the client does then says nothing about the scenario
            if came := scenario.verdict(run, first):
                self._report.broken(scenario.rule.name, came)
            else:
                self._report.kept(scenario.rule.name)

    def _play(self, scenario: Scenario) -> Run:
        run = scenario.run(self.revision, self._report)
        client = None if self.start is None else self.start()
        try:
            active = time.monotonic()
            while not self._is_over(run, client, active):
                if self._serve(scenario, run, self._wait()):
                    active = time.monotonic()
        finally:
            for peer in self._peers:
                run.end_peer(peer)
            if client is not None and client.poll() is None:
                if run.returns <= MAX_RETURNS + 1:  # else it is ended for that, and was not silent
                    run.gave_up_after_s = self.limit_s
                client.kill()
            for peer in self._peers:
                run.peer_closed(peer)
                peer.close()
            self._peers.clear()
            if client is not None:
                client.wait()
        run.exit_code = None if client is None else client.returncode
        return run

    def _is_over(self, run: Run, client: Client | None, active: float) -> bool:
        raise_if_stopped()
        silent_s = time.monotonic() - active
        if run.returns > MAX_RETURNS + 1:
            return True
        if client is None:
            waits_s = self.limit_s if self._peers else self.quiet_s
            has_come = run.messages or any(peer.partial for peer in self._peers)
            return bool(has_come) and silent_s > waits_s
        if client.poll() is None:
            return silent_s > self.limit_s
        run.left_early = run.left_early or any(peer.unanswered for peer in self._peers)
        return not self._peers or silent_s > _LEFT_S

    def _wait(self) -> set[int]:
        now = time.monotonic()
        due = min((peer.next_at for peer in self._peers), default=now + _TICK_S)
        with selectors.PollSelector() as selector:
            selector.register(self.listener.fileno(), selectors.EVENT_READ)
            for peer in self._peers:
                if not peer.input_ended:  # else it is ready for ever
                    wanted = selectors.EVENT_WRITE if peer.wants_write else 0
                    selector.register(peer.fileno(), selectors.EVENT_READ | wanted)
            with interruptible():
                ready = selector.select(max(0.0, min(due - now, _TICK_S)))
        return {key.fd for key, _ in ready}

    def _serve(self, scenario: Scenario, run: Run, ready: set[int]) -> bool:
        """Serves everybody once; gives whether anything has come."""
        now = time.monotonic()
        if self.listener.fileno() in ready and (stream := self.listener.accept()) is not None:
            peer = Peer(stream, revision=self.revision, bytewise=scenario.bytewise, joined=scenario.joined)
            self._peers.append(peer)
        for peer in list(self._peers):
            if peer.fileno() in ready and not peer.input_ended:
                run.receive(peer, [other for other in self._peers if other is not peer], now)
            peer.send_due(now)
            if peer.closed:
                if peer.handshake_failed:
                    self.notify(f"a connection was of no use: {peer.broken}")
                run.peer_closed(peer)
                self._peers.remove(peer)
        return bool(ready)
