"""The progress of an upload: a bar on a terminal, otherwise one plain line every 10 s.

A terminal without escapes (TERM=dumb: an editor's shell, a log of a terminal) gets plain lines, too. Both are written
to standard error and count acknowledged bets. The bar is wiped before a log line and drawn again after it.
"""

from __future__ import annotations

import logging
import os
from typing import TextIO

from bets_protocol.cli.log_format import line_handler, one_line
from bets_protocol.client.retry import now

LINE_EVERY_S = 10.0
DRAW_EVERY_S = 0.1
_BAR_WIDTH = 16
_WIPE = "\r\x1b[K"


class Progress:
    """Shows how far the work is.

    Args:
        stream: the output, or None for no progress.
        logger: its lines must not run into the bar.
    """

    def __init__(self, stream: TextIO | None, logger: logging.Logger) -> None:
        self._stream = stream
        self._terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._handler = line_handler(logger)
        self._title = ""
        self._done = self._total = 0
        self._started = self._shown_at = now()
        self._drawn = self._running = False

    def start(self, title: str, total: int) -> None:
        """Start counting to `total` bets."""
        self._title, self._done, self._total = one_line(title), 0, total
        self._started = self._shown_at = now()
        self._running = True
        if self._terminal:
            if self._handler is not None:
                self._handler.before_line = self._wipe
            self._draw()

    def acknowledged(self, bets: int) -> None:
        """Count `bets` more acknowledged bets."""
        self._done += bets
        self.tick()

    def waiting(self, title: str) -> None:
        """Show `title` and the time from now on, without a count."""
        self.start(title, 0)

    def retitle(self, title: str) -> None:
        """Change the title; the time goes on."""
        self._title = one_line(title)

    def tick(self) -> None:
        """Show the progress if it is due. Call it often."""
        if not self._running:
            return
        every = DRAW_EVERY_S if self._terminal else LINE_EVERY_S
        if now() - self._shown_at >= every:
            self._shown_at = now()
            if self._terminal:
                self._draw()
            else:
                self._write(self._text() + "\n")

    def finish(self) -> None:
        """End the progress, and leave the last state of a bar on a line of its own."""
        if self._running and self._terminal:
            self._draw()
            self._write("\n")
        self._running = self._drawn = False
        if self._handler is not None:
            self._handler.before_line = None

    def _text(self) -> str:
        elapsed = f"{now() - self._started:.0f} s"
        if not self._total:
            return f"{self._title}: {elapsed}"
        percent = 100 * self._done // self._total
        return f"{self._title}: {self._done:,} of {self._total:,} bets acknowledged ({percent} %), {elapsed}"

    def _draw(self) -> None:
        text = self._text()
        if self._total:
            full = _BAR_WIDTH * self._done // self._total
            text = f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}] {text}"
        self._write(f"{_WIPE}{text[: self._columns() - 1]}")
        self._drawn = True

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            self._write(_WIPE)

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._stream is not None else 0
        except (OSError, ValueError):
            columns = 0
        return columns or 80  # a terminal without a size says 0

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # errors of the progress stream are ignored
            self._stream = None
