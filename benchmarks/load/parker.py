"""Many connections that wait for the draw: stands alone like `agent`, and does a step for each line it reads.

``connect`` opens them all; ``ask`` has each ask for the winners of its agency; ``draw`` has the last agency ask, on a
connection of its own, and waits until everybody has an answer. After each step it writes a JSON object.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time


def answer_times(waiting: list[socket.socket], last: socket.socket, agency: int) -> dict[str, object]:
    """Has the last agency ask; returns how long after that the answers came, in seconds."""
    poll = select.epoll()
    for connection in waiting:
        poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
    by_number = {connection.fileno(): connection for connection in waiting}
    times: list[float] = []
    start = time.monotonic()
    last.sendall(bytes((2, agency)))
    while len(times) < len(waiting):
        for number, _ in poll.poll():
            if len(by_number[number].recv(65_536)) < 2:
                sys.exit("a connection was closed instead of answered")
            times.append(time.monotonic() - start)
    poll.close()
    return {"first_s": times[0], "median_s": times[len(times) // 2], "last_s": times[-1]}


def main() -> None:
    """Does the steps that are asked for on standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--agencies", type=int, required=True)
    options = parser.parse_args()
    host, _, port = options.server.rpartition(":")
    connections: list[socket.socket] = []
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.monotonic()
        result: dict[str, object] = {}
        if line.strip() == "connect":
            while len(connections) < options.connections:
                connections.append(socket.create_connection((host, int(port)), timeout=30))
        elif line.strip() == "ask":
            for index, connection in enumerate(connections):
                connection.sendall(bytes((2, 1 + index % (options.agencies - 1))))
        else:
            with socket.create_connection((host, int(port)), timeout=30) as last:
                result = answer_times(connections, last, options.agencies)
        print(json.dumps({"start": start, "end": time.monotonic(), **result}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, BrokenPipeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
