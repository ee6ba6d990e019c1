"""The loop of a server that checks a client: it plays one scenario after the other and decides when a run is over.

If the runner starts the client, a run is over when the program has ended. Otherwise it is over when every connection
has ended and nothing has come for a while. There is one thread.
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
"""Seconds between two looks at whether the program has ended."""

_LEFT_S = 1.0
"""Seconds that connections may outlive their program."""


class Client(Protocol):
    """A running client: a part of `subprocess.Popen`."""

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)\}")
"""A placeholder in the command; `${HOME}` belongs to the shell."""


def placeholders(url: str) -> dict[str, str]:
    """The values of the placeholders for a listener at `url`; `host` and `port` only if it has them."""
    parts = parse_url(url)
    found = {"url": str(parts)}
    return found if parts.port is None else {**found, "host": parts.host, "port": str(parts.port)}


def unknown_placeholders(command: Sequence[str], url: str) -> list[str]:
    """The placeholders in `command` that have no value."""
    known = placeholders(url)
    return [name for word in command for name in _PLACEHOLDER.findall(word) if name not in known]


def program(command: Sequence[str], listener: Listener) -> Client:
    """Starts a client's program; every placeholder in its words has a value.

    Raises:
        ConfigError: the program cannot be started.
    """
    places = placeholders(listener.url)
    words = [_PLACEHOLDER.sub(lambda match: places[match[1]], word) for word in command]
    try:
        # Standard output is for the report; what the client prints goes to standard error.
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=2)
    except OSError as error:
        raise ConfigError(f"cannot start {words[0]!r}: {error.strerror or error}") from error


@attrs.define(kw_only=True)
class Runner:
    """Checks a client."""

    listener: Listener
    revision: int
    scenarios: Sequence[Scenario]  # in order; the runs of the others are compared with the run of the first
    start: Callable[[], Client] | None = None  # starts the client, once for each scenario; without it the user does
    quiet_s: float = 2.0  # silence that ends a run of a client that the user started
    limit_s: float = 30.0  # silence after which a run is given up
    notify: Callable[[str], None]  # shows a line to the user
    _report: ClientReport = attrs.field(init=False, factory=ClientReport)
    _peers: list[Peer] = attrs.field(init=False, factory=list)

    def findings(self) -> list[Finding]:
        """The findings so far, for every rule of the revision."""
        rules = (*RULES, *(scenario.rule for scenario in self.scenarios))
        return [self._report.finding(rule) for rule in rules if self.revision in rule.revisions]

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
                continue  # the client broke another rule, so the run says nothing about the scenario
            if came := scenario.verdict(run, first):
                self._report.broken(scenario.rule.name, came)
            else:
                self._report.kept(scenario.rule.name)

    def _play(self, scenario: Scenario) -> Run:
        run = Run(revision=self.revision, report=self._report, scenario=scenario)
        client = None if self.start is None else self.start()
        try:
            active = time.monotonic()
            while not self._is_over(run, client, active):
                if self._serve(run, self._wait()):
                    active = time.monotonic()
        finally:
            for peer in self._peers:
                run.end_peer(peer)
            if client is not None and client.poll() is None:
                if run.returns <= MAX_RETURNS + 1:  # otherwise it is killed for coming back, not for silence
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
                if not peer.input_ended:  # a stream at its end is always readable
                    wanted = selectors.EVENT_WRITE if peer.stream.needs_write else 0
                    selector.register(peer.stream.fileno(), selectors.EVENT_READ | wanted)
            with interruptible():
                ready = selector.select(max(0.0, min(due - now, _TICK_S)))
        return {key.fd for key, _ in ready}

    def _serve(self, run: Run, ready: set[int]) -> bool:
        """Serves every connection once; returns whether anything came."""
        now = time.monotonic()
        if self.listener.fileno() in ready and (stream := self.listener.accept()) is not None:
            self._peers.append(Peer(stream, revision=self.revision, scenario=run.scenario))
        for peer in list(self._peers):
            if peer.stream.fileno() in ready and not peer.input_ended:
                run.receive(peer, [other for other in self._peers if other is not peer], now)
            peer.send_due(now)
            if peer.closed:
                if peer.handshake_failed:
                    self.notify(f"a connection was of no use: {peer.broken}")
                run.peer_closed(peer)
                self._peers.remove(peer)
        return bool(ready)
