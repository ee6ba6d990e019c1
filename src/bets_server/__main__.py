"""`bets-server`, which is `python -m bets_server` too."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the program as the whole process.

    A Ctrl-C that comes while modules are loaded ends the process as the system does it: Python would show a traceback.
    SIGHUP has a server read its files anew, and does nothing before it has read any.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from bets_server.cli import main as run

    run()


if __name__ == "__main__":
    main()
