"""Checks a server against the protocol: what `bets-client conform` runs.

Strategy: `talk` is one connection, `bench` what is known of the server, each rule a small function that raises where
the server does otherwise than docs/protocol.md says; `examination` tries them all. Nothing of the wire is written here
a second time: sound bytes come from the library's encoder, unsound ones are made by damaging those, and the library's
own connection judges every answer.
"""

from __future__ import annotations
