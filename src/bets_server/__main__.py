"""The program `bets-server`, also started by `python -m bets_server`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the program as the whole process.

    SIGINT has the system's action while modules are loaded, because Python's would show a traceback. SIGHUP makes a
    server read its files again, and is ignored until it has read them.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from bets_server.cli import main as run

    run()


if __name__ == "__main__":
    main()
