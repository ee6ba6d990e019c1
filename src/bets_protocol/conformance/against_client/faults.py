"""The faults of the scenarios: each answers some messages in its own way and leaves the others to the run.

What happens is said by the scenario of a fault.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from bets_protocol import Ack, Bet, BetBatch, OpenUpload, RejectCode, Winners, WinnersRequest, encode, limits
from bets_protocol.conformance.against_client.peer import Peer
from bets_protocol.conformance.against_client.run import Fault, Run, bets_of

MAX_BUSY = 5
"""How often a server says BUSY before it refuses for good, so that the run ends."""

_APART_S = 0.3
"""Seconds between two answers to one request: a client that does not wait for the second has left by then."""

_LISTS_APART_S = 1.0
"""Seconds between two lists of winners: some clients take a while to read half a megabyte."""


def cut_first_bets(run: Run, peer: Peer, event: object, _now: float) -> bool:
    """The first message with bets gets no answer; on revision 9, where the client can ask, the bets are stored."""
    if run.lost or not isinstance(event, Bet | BetBatch):
        return False
    run.lost = bets_of(event)
    if run.revision >= 9:
        run.store(peer, event)
    peer.cut_off()
    return True


def cut_first_request(run: Run, peer: Peer, event: object, _now: float) -> bool:
    if run.asked > 1 or not isinstance(event, WinnersRequest):
        return False
    peer.cut_off()
    return True


def end_behind_winners(run: Run, peer: Peer, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    run.send_winners(peer, now)
    peer.end(now)
    return True


def refuse_first_bets(run: Run, peer: Peer, event: object, now: float) -> bool:
    """The first message with bets is refused, each time that it comes."""
    if not isinstance(event, Bet | BetBatch) or not _is_refused(run, event):
        return False
    run.refuse(peer, event, RejectCode.BAD_BET, now)
    if run.revision in (5, 6):
        peer.end(now)
    return True


def dismiss_first_bets(run: Run, peer: Peer, event: object, now: float) -> bool:
    """The first message with bets is refused each time, and the connection ends; what follows is ignored."""
    if peer is run.refused_on:
        return True
    if not isinstance(event, Bet | BetBatch) or not _is_refused(run, event):
        return False
    run.refused_on = peer
    run.refuse(peer, event, RejectCode.BAD_BET, now)
    peer.end(now)
    return True


def _is_refused(run: Run, event: Bet | BetBatch) -> bool:
    if run.refused is None:
        run.refused = event
        return True
    run.returns += event == run.refused
    return event == run.refused


def stop_at(kind: type[object], code: RejectCode) -> Fault:
    """The first message of a kind is refused with `code`, and so is every later message."""

    def fault(run: Run, peer: Peer, event: object, now: float) -> bool:
        if run.refused is None and not isinstance(event, kind):
            return False
        if run.refused is None:
            run.refused = event
        else:
            run.returns += 1
        run.refuse(peer, event, code, now)
        return True

    return fault


def put_off(code: RejectCode, is_due: Callable[[Run, object], bool]) -> Fault:
    """The first message that is due is answered with `code`; bets in it are not stored."""

    def fault(run: Run, peer: Peer, event: object, now: float) -> bool:
        if run.refused is not None or not is_due(run, event):
            return False
        run.refused = event
        run.refuse(peer, event, code, now)
        return True

    return fault


def put_off_while_waiting(code: RejectCode) -> Fault:
    """A client that waits for the draw gets `code` after the first 0, without another request."""

    def fault(run: Run, peer: Peer, event: object, now: float) -> bool:
        if run.asked > 1 or not isinstance(event, WinnersRequest):
            return False
        peer.answer(peer.connection.send(run.status_on(peer)), now)
        run.refuse(peer, event, code, now)
        return True

    return fault


def busy_for_long(run: Run, peer: Peer, event: object, now: float) -> bool:
    """Every OpenUpload is answered with BUSY, until the last one is refused for good."""
    if not isinstance(event, OpenUpload):
        return False
    run.attempts.append(now)
    run.returns += len(run.attempts) > MAX_BUSY + 1
    run.refuse(peer, event, RejectCode.BUSY if len(run.attempts) <= MAX_BUSY else RejectCode.WRONG_DRAW, now)
    return True


def other_bets_stored(run: Run, peer: Peer, event: object, now: float) -> bool:
    """OpenUpload is answered that a bet is stored, with the CRC-32 of another one."""
    if isinstance(event, OpenUpload):
        status = attrs.evolve(run.open(peer, event).status(), stored=min(1, event.total), crc32=0x0BAD0BAD)
        peer.answer(peer.connection.send(status), now)
    else:
        run.returns += 1
        run.refuse(peer, event, RejectCode.BAD_FRAME, now)
    return True


def older_server(run: Run, peer: Peer, event: object, now: float) -> bool:
    """A server that does not know uploads answers OpenUpload with Ack 0 and the end."""
    run.returns += isinstance(event, OpenUpload) and run.refused is not None
    run.bets_elsewhere += isinstance(event, Bet | BetBatch)
    run.refused = event
    peer.answer(encode(Ack(count=0), revision=8), now)
    peer.end(now)
    return True


def incomplete_at_first(run: Run, peer: Peer, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    run.attempts.append(now)
    if run.asked == 1:
        run.asked_on = peer
        peer.answer(peer.connection.send(run.status_on(peer, RejectCode.INCOMPLETE)), now)
        return True
    if run.asked_on is not peer:
        run.returns += 1
    return False


def signs_of_life(run: Run, peer: Peer, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    run.send_winners(peer, now, signs_of_life=3, apart_s=_APART_S)
    return True


def two_lists(run: Run, peer: Peer, event: object, now: float) -> bool:
    if not isinstance(event, WinnersRequest):
        return False
    for code in (RejectCode.OK, RejectCode.DRAWN):
        peer.answer(peer.connection.send(run.status_on(peer, code)), now)
    full = [run.bets[0].document if run.bets else "12345678"] * limits.MAX_WINNERS
    peer.answer(peer.connection.send(Winners(documents=full)), now)
    peer.answer(peer.connection.send(Winners(documents=full[:1])), now, after_s=_LISTS_APART_S)
    run.told = True
    return True
