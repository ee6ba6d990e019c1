"""Checks a client against the protocol: what `bets-server conform` runs.

Strategy: `guest` is one connection, read and written by the library's own `ServerConnection`; `run` is what a client
has done so far, and watches the rules that hold whatever happens; `scenarios` says what goes otherwise, run by run;
`host` is the loop. Nothing is stored but in memory.
"""

from __future__ import annotations
