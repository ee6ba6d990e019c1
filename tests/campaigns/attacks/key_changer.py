"""A peer with a good certificate that waits for the draw and changes its keys for as long as it is let; then another.

Each change obliges the server to one of its own, and costs it a hundred times what a byte does. Ends by SIGTERM, and
then prints a `Tale` as JSON, in which ages are counted from the first change of keys.

Usage: ``python -m tests.campaigns.attacks.key_changer PORT CERTIFICATE KEY AGENCY``
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

import attrs

from tests.campaigns.attacks.crowd import Tale
from tests.server.wire import ask
from tests.tls_records import Forger, forging_context

CHANGES_AT_ONCE = 200
PATIENCE_S = 10.0
PAUSE_S = 0.1
"""Between two connections: a crowd of handshakes is another attack."""


class KeyChanger:
    """One connection after the other.

    Args:
        files: certificate and key.
        keys: where the keys of a connection are written to; its own.
    """

    def __init__(self, port: int, files: tuple[str, str], agency: int, keys: Path) -> None:
        self.tale = Tale()
        self.told_to_end = False
        self._port = port
        self._files = files
        self._agency = agency
        self._keys = keys

    def run(self) -> None:
        """Until it is told to end."""
        self.tale.began = time.monotonic()
        while not self.told_to_end:
            self._keys.unlink(missing_ok=True)
            context = forging_context(server=False, version=ssl.TLSVersion.TLSv1_3, files=self._files)
            with socket.create_connection(("127.0.0.1", self._port), PATIENCE_S) as sock:
                self.tale.connected += 1
                forger = Forger(sock, context, self._keys, server_name="127.0.0.1")
                self.tale.shaken += 1
                sock.sendall(forger.record(ask(self._agency)))
                self._change(forger)
            time.sleep(PAUSE_S)
        self.tale.ended = time.monotonic()

    def _change(self, forger: Forger) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while not self.told_to_end:
                forger.sock.sendall(b"".join(forger.key_update() for _ in range(CHANGES_AT_ONCE)))
            self.tale.left += 1
            return
        self.tale.ages.append(time.monotonic() - began)


def main(port: str, cert: str, key: str, agency: str) -> None:
    """Does as it is told."""
    os.nice(19)
    with tempfile.TemporaryDirectory() as folder:
        changer = KeyChanger(int(port), (cert, key), int(agency), Path(folder) / "keys")

        def end(_number: int, _frame: object) -> None:
            changer.told_to_end = True

        signal.signal(signal.SIGTERM, end)
        print("at work", flush=True)
        changer.run()
    print(json.dumps(attrs.asdict(changer.tale)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
