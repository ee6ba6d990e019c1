"""One agency of the load generator for gRPC: the same steps and lines as `benchmarks.load.agent`, with its own stub.

The messages are serialized beforehand and handed over as they are.
"""

from __future__ import annotations

import argparse
import array
import json
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

SERVICE = "/bench.Intake"


def _messages(payload: str) -> list[bytes]:
    lengths = array.array("I", Path(f"{payload}.lengths").read_bytes())
    data = Path(f"{payload}.frames").read_bytes()
    found, at = [], 0
    for length in lengths:
        found.append(data[at : at + length])
        at += length
    return found


def upload(channel: grpc.Channel, payload: str) -> dict[str, object]:
    """Sends a batch, waits for its answer, and so on."""
    messages = _messages(payload)
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def requests() -> Iterator[bytes]:
        while (message := waiting.get()) is not None:
            yield message

    latencies = []
    start, used = time.monotonic(), time.process_time()
    exchange: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{SERVICE}/Upload")
    answers = exchange(requests())
    for message in messages:
        sent = time.monotonic()
        waiting.put(message)
        if not int.from_bytes(next(answers), "big"):
            sys.exit("a batch was refused")
        latencies.append(time.monotonic() - sent)
    end = time.monotonic()
    waiting.put(None)
    return {
        "start": start,
        "end": end,
        "batches": len(latencies),
        "latencies_s": latencies,
        "cpu_s": time.process_time() - used,
    }


def main() -> None:
    """Does the steps that are asked for on standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--payload", required=True)
    parser.add_argument("--agency", type=int, required=True)
    options = parser.parse_args()
    with grpc.insecure_channel(options.server) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "upload":
                result = upload(channel, options.payload)
            else:
                start = time.monotonic()
                ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}/Winners")
                documents = ask(bytes((options.agency,)))
                result = {"start": start, "end": time.monotonic(), "winners": len(documents) // 8}
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
