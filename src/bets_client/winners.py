"""Asking for winners: sealing agencies, and waiting until the draw has taken place.

Strategy: asking and waiting are apart. `ask` sends an agency's request as soon as its bets are stored; `collect` waits
for the answers of all of them in one selector loop. So one process may be every agency there is: were it to wait for
the first agency's winners before it sends the second's bets, the draw would wait for it for ever.
An answer is held back for as long as the draw takes, so silence means nothing here; a lost connection is made again
and asked again, which the server counts once. Patience counts from the beginning of `collect`.
"""

from __future__ import annotations

import logging

import attrs

from bets_client.dialer import Dialer
from bets_client.errors import NotDrawn, Unreachable, WrongPeer
from bets_client.job import Job
from bets_client.link import TICK_S, Link, wait_ready
from bets_client.patience import Patience, now
from bets_protocol import ConnectError, RemoteProtocolError, TransportError, Winners, WinnersRequest


@attrs.define(kw_only=True, eq=False)
class _Asking:
    """One agency that waits.

    Attributes:
        link: on which it has asked; None: it has to ask (again).
        retry_at: when, in monotonic seconds.
    """

    agency: int
    dialer: Dialer
    link: Link | None = None
    retry_at: float = 0.0
    documents: tuple[str, ...] | None = None


class WinnersDesk:
    """Asks for several agencies and waits for all of them.

    Thread: one.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._patience = Patience(job.settings.retry_for_s)
        self._asking: list[_Asking] = []

    @property
    def found(self) -> dict[int, tuple[str, ...]]:
        """The documents of the agencies that have their answer."""
        return {asking.agency: asking.documents for asking in self._asking if asking.documents is not None}

    def ask(self, agency: int, link: Link | None) -> None:
        """Say that `agency` has sent everything, and ask for its winners.

        A server that cannot be reached just now is no error here; `collect` asks again.

        Args:
            link: where its bets went and more can follow; None makes a new connection.
        """
        asking = _Asking(agency=agency, dialer=Dialer(self._job, agency, self._patience))
        self._asking.append(asking)
        if link is not None:
            self._request(asking, link)
        else:
            self._connect(asking)

    def collect(self) -> None:
        """Wait until every agency that asked has its winners, in `found`.

        Raises:
            NotDrawn: the server is there and has not answered before the deadline.
            Unreachable: the server is not there.
            WrongPeer: what answers breaks the protocol.
        """
        self._patience.renew()
        waiting = self._waiting()
        if waiting:
            self._job.progress.waiting(f"waiting for the draw, agencies {_listed(waiting)}")
        while waiting:
            for asking in waiting:
                if asking.link is None and asking.retry_at <= now():
                    self._connect(asking)
            self._wait(waiting)
            for asking in waiting:
                self._advance(asking)
            self._job.progress.tick()
            waiting = self._waiting()
            if waiting and self._patience.over:
                raise self._gave_up(waiting)
        self._job.progress.finish()

    def _waiting(self) -> list[_Asking]:
        return [asking for asking in self._asking if asking.documents is None]

    def _connect(self, asking: _Asking) -> None:
        try:
            link = asking.dialer.attempt()
        except ConnectError:
            asking.retry_at = now() + asking.dialer.rest_s()
            return
        self._request(asking, link)

    def _request(self, asking: _Asking, link: Link) -> None:
        asking.link = link
        link.queue(WinnersRequest(agency=asking.agency))
        self._job.log.progress("consulta_ganadores", level=logging.DEBUG, client_id=asking.agency)
        self._advance(asking)

    def _wait(self, waiting: list[_Asking]) -> None:
        links = [asking.link for asking in waiting if asking.link is not None]
        retries = [asking.retry_at - now() for asking in waiting if asking.link is None]
        wait_ready(links, min([TICK_S, self._patience.left_s, *retries]))

    def _advance(self, asking: _Asking) -> None:
        link = asking.link
        if link is None:
            return
        try:
            for winners in [answer for answer in link.advance() if isinstance(answer, Winners)]:
                asking.documents = winners.documents
                asking.link = None
                self._job.opened.close(link)
        except TransportError as error:
            asking.link = None
            asking.dialer.lost(link, error, unanswered=1)
            asking.retry_at = now() + asking.dialer.rest_s()
        except RemoteProtocolError as error:
            self._failed(error)
            raise WrongPeer(
                f"{self._job.settings.server}: the server breaks the protocol, or speaks another revision than "
                f"{self._job.settings.revision}: agency {asking.agency} asked for its winners: {error}"
            ) from error

    def _gave_up(self, waiting: list[_Asking]) -> NotDrawn | Unreachable:
        error: NotDrawn | Unreachable
        away = [asking for asking in waiting if asking.link is None]
        if away:
            error = away[0].dialer.gave_up()
        else:
            error = NotDrawn(
                f"the draw has not taken place: agencies {_listed(waiting)} have waited for "
                f"{self._patience.limit_s:g} s (--retry-for); bets-client winners asks again"
            )
        self._failed(error)
        return error

    def _failed(self, error: Exception) -> None:
        self._job.log.fail("consulta_ganadores", error=error)


def _listed(asking: list[_Asking]) -> str:
    return ", ".join(str(one.agency) for one in asking)
