"""SIGTERM and SIGINT become one exception in the main thread, whatever it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bets_protocol.cli.signals import (
    Stopped,
    deferred_stops,
    ignore_strays,
    interruptible,
    let_sigterm_kill,
    loaded,
    raise_if_stopped,
    stop_asked,
    stop_signals,
    work_begins,
    work_is_done,
)

WAIT_S = 20.0


def read_until_stopped(number: signal.Signals) -> None:
    """Wait in a read, which `number` interrupts."""
    reader, writer = os.pipe()
    sender = threading.Timer(0.05, os.kill, (os.getpid(), number))
    try:
        with stop_signals():
            sender.start()
            os.read(reader, 1)
    finally:
        sender.join(WAIT_S)
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_breaks_a_wait_and_knows_its_exit_code(number: signal.Signals, code: int) -> None:
    """SIGTERM means 0 and SIGINT 130."""
    with pytest.raises(Stopped) as caught:
        read_until_stopped(number)
    assert (caught.value.signal, caught.value.exit_code, str(caught.value)) == (number, code, number.name)


def test_a_stop_in_the_middle_of_work_is_no_success() -> None:
    """143, until the work is done; Ctrl-C is 130 in any case."""
    with stop_signals():
        assert Stopped(signal.SIGTERM).exit_code == 0
        work_begins()
        assert (Stopped(signal.SIGTERM).exit_code, Stopped(signal.SIGINT).exit_code) == (143, 130)
        work_is_done()
        assert Stopped(signal.SIGTERM).exit_code == 0
        work_begins()
    with stop_signals():
        assert Stopped(signal.SIGTERM).exit_code == 0


def stopped_once_more(closed: list[str]) -> None:
    """A second signal comes while the first one's clean-up runs."""
    with stop_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            closed.append("all")


def test_only_the_first_signal_raises() -> None:
    """A second signal does not interrupt the closing."""
    closed: list[str] = []
    with pytest.raises(Stopped) as caught:
        stopped_once_more(closed)
    assert (closed, caught.value.signal) == (["all"], signal.SIGTERM)


def test_a_deferred_stop_comes_up_at_the_next_look() -> None:
    """A deferred signal is raised where the program asks for it."""
    reached: list[str] = []
    with pytest.raises(Stopped):
        deferred_until_the_look(reached)
    assert reached == ["behind the signal", "closed"]


def deferred_until_the_look(reached: list[str]) -> None:
    with stop_signals(), deferred_stops():
        try:
            raise_if_stopped()
            signal.raise_signal(signal.SIGTERM)
            reached.append("behind the signal")
            raise_if_stopped()
            reached.append("behind the look")
        finally:
            raise_if_stopped()  # it came up, so what closes things is not disturbed again
            reached.append("closed")


def test_a_deferred_stop_breaks_a_wait() -> None:
    """A blocking read ends although the stop is deferred."""
    with pytest.raises(Stopped):
        deferred_read_until_stopped(before=False)


def test_a_deferred_stop_from_before_a_wait_is_not_waited_out() -> None:
    """A signal before the wait ends it at once."""
    with pytest.raises(Stopped):
        deferred_read_until_stopped(before=True)


def deferred_read_until_stopped(*, before: bool) -> None:
    """Wait in a read while stops are deferred; the signal comes `before` the wait or in it."""
    reader, writer = os.pipe()
    sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
    try:
        with stop_signals(), deferred_stops():
            if before:
                signal.raise_signal(signal.SIGTERM)
            else:
                sender.start()
            with interruptible():
                os.read(reader, 1)
    finally:
        if not before:
            sender.join(WAIT_S)
        os.close(reader)
        os.close(writer)


def test_a_deferred_stop_comes_up_at_the_end_at_last() -> None:
    """A stop that nobody asked for is raised at the end."""
    with pytest.raises(Stopped):
        deferred_to_the_end()


def deferred_to_the_end() -> None:
    with stop_signals(), deferred_stops():
        signal.raise_signal(signal.SIGTERM)


def stopped_while_loading(reached: list[str]) -> None:
    """The signal comes while modules are imported."""
    with stop_signals(loading=True):
        signal.raise_signal(signal.SIGTERM)
        reached.append("imported")
        loaded()
        reached.append("begun")


def test_a_stop_waits_until_all_modules_are_loaded() -> None:
    """An exception in the middle of an import may be lost in a finaliser."""
    reached: list[str] = []
    with pytest.raises(Stopped):
        stopped_while_loading(reached)
    assert reached == ["imported"]


def deferred_after_the_signal(reached: list[str]) -> None:
    """The signal has come before stops are deferred."""
    with stop_signals(loading=True):
        signal.raise_signal(signal.SIGTERM)
        assert stop_asked() == signal.SIGTERM
        with deferred_stops():
            reached.append("begun")


def test_a_stop_from_before_comes_up_before_anything_is_opened() -> None:
    """A signal that came earlier is raised at once."""
    reached: list[str] = []
    with pytest.raises(Stopped):
        deferred_after_the_signal(reached)
    assert reached == []


class Swallowing:
    """Its finaliser is where the stop comes up, and is lost."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def lose_one_stop(lost: list[object]) -> None:
    """Ask twice: the first one comes up in a finaliser."""
    with stop_signals():
        Swallowing()
        lost.append("lost")
        signal.raise_signal(signal.SIGTERM)
        lost.append("lost again")


def test_a_second_sigterm_comes_up_where_the_first_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that was swallowed can be repeated."""
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: lost.append(type(what.exc_value)))
    with pytest.raises(Stopped):
        lose_one_stop(lost)
    assert lost == [Stopped, "lost"]


def test_a_second_sigint_ends_the_process_whatever_hangs() -> None:
    """Ctrl-C after a stop ends the process at once."""
    program = (
        "import signal, sys, time\n"
        "from bets_protocol.cli.signals import stop_signals\n"
        "with stop_signals():\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        print('closing', flush=True)\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        time.sleep(3600)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (130, b"closing\n")


def test_no_handler_of_ordinary_errors_swallows_it() -> None:
    """`Stopped` is no `Exception`."""
    assert not issubclass(Stopped, Exception)


def test_the_handlers_from_before_come_back() -> None:
    """Leaving the block restores both handlers."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_at_the_end_of_a_process_later_signals_are_ignored() -> None:
    """With `restore=False` signals have no effect after the block."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with stop_signals(restore=False):
            pass
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_sigterm_can_be_given_back_to_the_system() -> None:
    """SIGTERM kills again, and SIGINT is still handled."""
    with stop_signals():
        let_sigterm_kill()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL


def test_beside_the_main_thread_nothing_happens() -> None:
    """In another thread no handler is changed."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with stop_signals():
            let_sigterm_kill()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT_S)
    assert seen == [before]


def test_a_wait_that_ends_in_time_is_not_disturbed() -> None:
    """Without a signal nothing is raised."""
    started = time.monotonic()
    with stop_signals():
        time.sleep(0.01)
    assert time.monotonic() - started < WAIT_S


def strays_ignored(*, whole_process: bool, elsewhere: bool) -> bool:
    """Whether SIGUSR2 is ignored after `ignore_strays`, in another thread where that is so `elsewhere`."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with stop_signals(restore=not whole_process):
            thread = threading.Thread(target=ignore_strays)
            thread.start() if elsewhere else ignore_strays()
            if elsewhere:
                thread.join(WAIT_S)
            return signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for stray in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}:
            if signal.getsignal(stray) is signal.SIG_IGN:
                signal.signal(stray, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("whole_process", "elsewhere", "ignored"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_stray_signals_are_ignored_by_whole_programs(whole_process: bool, elsewhere: bool, ignored: bool) -> None:
    """A program that is embedded leaves its process's signals alone; threads cannot change them."""
    assert strays_ignored(whole_process=whole_process, elsewhere=elsewhere) == ignored
    ignore_strays()
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
