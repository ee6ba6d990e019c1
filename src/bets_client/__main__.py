"""`bets-client`, which is `python -m bets_client` too."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the program as the whole process."""
    # A Ctrl-C while modules are loaded ends the process by the signal; Python would show a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from bets_client.cli.commands import main as run

    run()


if __name__ == "__main__":
    main()
