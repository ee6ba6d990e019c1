"""Unix sockets: who may connect, what may be replaced, and whose path it is."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bets_protocol import ConfigError, ConnectError
from bets_protocol.transports import connect, listen, parse_url
from bets_protocol.transports.unix import MAX_PATH_BYTES, UnixTransport

# A server that says when it listens, and then either dies or forks.
SERVER = """
import os, sys, time
from bets_protocol.transports import listen
listener = listen(sys.argv[1])
print("listening", flush=True)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        listener.close()
        os._exit(0)
    os.wait()
    print(os.path.exists(sys.argv[1].removeprefix("unix://")))
    listener.close()
else:
    time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: pytest's own are too long for a socket on some systems."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def dead(folder: Path) -> Path:
    """The path of a server that was killed."""
    path = folder / "s"
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, f"unix://{path}", "sleep"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        server.send_signal(signal.SIGKILL)
    assert stat.S_ISSOCK(path.lstat().st_mode)
    return path


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_a_path_is_for_its_owner_only(folder: Path, mask: int) -> None:
    """Mode 0600 whatever the umask, which is then as before."""
    with umask(mask), listen(f"unix://{folder}/s"):
        assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
        (folder / "file").touch()
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o666 & ~mask


def test_a_path_is_never_open_to_others(folder: Path) -> None:
    """Not even between its making and its first connection: who looks all the time sees 0600 or nothing."""
    path = folder / "s"
    seen = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with contextlib.suppress(FileNotFoundError):
                seen.add(stat.S_IMODE(path.stat().st_mode))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            listen(f"unix://{path}").close()
    finally:
        done.set()
        looking.join()
    assert seen <= {0o600}


def test_listening_at_many_places_at_once_keeps_modes_and_umask(folder: Path) -> None:
    """The umask is one for all threads; it comes back as it was, and no path is made under another's."""

    def mode_at(number: int) -> int:
        with listen(f"unix://{folder}/{number}/s"):
            return stat.S_IMODE((folder / str(number) / "s").stat().st_mode)

    for number in range(200):
        (folder / str(number)).mkdir()
    with umask(0o022), concurrent.futures.ThreadPoolExecutor(8) as pool:
        modes = list(pool.map(mode_at, range(200)))
        assert os.umask(0o022) == 0o022
    assert modes == [0o600] * 200


def test_a_failed_listen_leaves_the_umask_alone(folder: Path) -> None:
    """Also when binding is what fails."""
    with umask(0o022):
        with pytest.raises(ConnectError):
            listen(f"unix://{folder}/nowhere/s")
        with pytest.raises(ConnectError):
            listen("unix:///proc/self/s")
        assert os.umask(0o022) == 0o022


def test_a_listener_that_does_not_come_about_leaves_no_path(folder: Path) -> None:
    """What fails behind the binding takes the path away again."""
    url = parse_url(f"unix://{folder}/s")
    with pytest.raises(OverflowError):
        UnixTransport().listen(url, 1 << 40)
    assert list(folder.iterdir()) == []


def test_a_dead_server_is_replaced(dead: Path) -> None:
    """Its path is no obstacle."""
    with listen(f"unix://{dead}") as listener, connect(listener.url):
        assert select.select([listener], [], [], 10)[0] == [listener]


def test_a_dead_server_refuses_clients(dead: Path) -> None:
    """Until it is replaced."""
    with pytest.raises(ConnectError, match=f"^cannot connect to unix://{dead}: connection refused$"):
        connect(f"unix://{dead}")


def test_a_live_server_is_not_replaced(folder: Path) -> None:
    """It is in use; its path stays and still leads to it, full queue or not."""
    url = f"unix://{folder}/s"
    with listen(url, backlog=1), contextlib.ExitStack() as clients:
        for _ in range(4):
            with pytest.raises(ConnectError, match=f"^cannot listen on {url}: address already in use$"):
                listen(url)
            with contextlib.suppress(ConnectError):
                clients.enter_context(connect(url, timeout_s=0.01))
        assert (folder / "s").exists()


def test_a_socket_of_another_kind_is_not_replaced(folder: Path) -> None:
    """A datagram socket that somebody has bound is in use too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{folder}/s")
        with pytest.raises(ConnectError, match="address already in use"):
            listen(f"unix://{folder}/s")
    assert (folder / "s").exists()


def test_what_is_no_socket_is_never_removed(folder: Path, dead: Path) -> None:
    """A file, a directory, a link (to a dead socket, to nothing) stay as they are."""
    (folder / "file").write_text("precious")
    (folder / "directory").mkdir()
    (folder / "link").symlink_to(dead)
    (folder / "dangling").symlink_to(folder / "nowhere")
    for name in ("file", "directory", "link", "dangling"):
        url = f"unix://{folder}/{name}"
        with pytest.raises(ConnectError, match=f"^cannot listen on {url}: the path exists and is not a socket$"):
            listen(url)
    assert (folder / "file").read_text() == "precious"
    assert (folder / "directory").is_dir()
    assert (folder / "link").readlink() == dead
    assert (folder / "dangling").is_symlink()
    assert stat.S_ISSOCK(dead.lstat().st_mode)


def test_one_of_many_replaces_a_dead_server(folder: Path) -> None:
    """However many start at once, one listens and can be reached, the others are told that it is in use."""
    path = folder / "s"
    start = threading.Barrier(8)

    def try_to_listen(_number: int) -> object:
        start.wait(10)
        try:
            return listen(f"unix://{path}")
        except ConnectError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as killed:
                killed.bind(str(path))
            outcomes = list(pool.map(try_to_listen, range(8)))
            (winner,) = [outcome for outcome in outcomes if not isinstance(outcome, str)]
            assert outcomes.count(f"cannot listen on unix://{path}: address already in use") == 7
            connect(f"unix://{path}").close()
            winner.close()  # type: ignore[attr-defined]
            assert not path.exists()


def test_a_stranger_who_locks_the_folder_is_no_obstacle(dead: Path) -> None:
    """The lock is for our own; listening goes on without it."""
    descriptor = os.open(dead.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        listen(f"unix://{dead}").close()
    finally:
        os.close(descriptor)


def test_closing_removes_the_path(folder: Path) -> None:
    """Nothing else is left in the folder either."""
    listen(f"unix://{folder}/s").close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["gone", "file", "socket"])
def test_closing_removes_only_its_own_path(folder: Path, kind: str) -> None:
    """What somebody put in its place stays."""
    path = folder / "s"
    with listen(f"unix://{path}") as listener:
        path.unlink()
        if kind == "file":
            path.touch()
        if kind == "socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path))
        listener.close()
        assert path.exists() == (kind != "gone")


@pytest.mark.parametrize("kind", ["gone", "dead socket", "folder gone and back"])
def test_a_lost_path_is_restored(folder: Path, kind: str) -> None:
    """Clients find the listener again, where it was and for its owner only; accepted connections live on."""
    path = folder / "in" / "s"
    path.parent.mkdir()
    with listen(f"unix://{path}") as listener, connect(listener.url) as early:
        accepted = listener.accept()
        assert accepted is not None
        assert not listener.lost
        path.unlink()
        assert listener.lost
        if kind == "dead socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path))
        if kind == "folder gone and back":
            path.parent.rmdir()
            assert listener.lost
            with pytest.raises(ConnectError, match="no such file or directory"):
                listener.restore()
            path.parent.mkdir()
        listener.restore()
        assert not listener.lost
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        with connect(f"unix://{path}") as late:
            again = listener.accept()
            assert again is not None
            early.send_all(b"a")
            late.send_all(b"b")
            assert (accepted.receive(), again.receive()) == (b"a", b"b")
            again.close()
        accepted.close()
    assert list(path.parent.iterdir()) == []
    assert not listener.lost
    listener.restore()
    assert listener.fileno() == -1


def test_what_is_in_the_place_of_a_lost_path_stays(folder: Path) -> None:
    """The listener can wait for the place to be free."""
    path = folder / "s"
    with listen(f"unix://{path}") as listener:
        path.unlink()
        path.write_text("mine")
        with pytest.raises(ConnectError, match="the path exists and is not a socket"):
            listener.restore()
        assert (path.read_text(), listener.lost) == ("mine", True)
        path.unlink()
        with listen(f"unix://{path}"):
            with pytest.raises(ConnectError, match="address already in use"):
                listener.restore()
            assert listener.fileno() >= 0
        listener.restore()
        assert not listener.lost


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "memory://never-lost"])
def test_other_listeners_are_never_lost(url: str) -> None:
    """There is nothing to restore, and nothing happens."""
    with listen(url) as listener:
        assert not listener.lost
        listener.restore()
        connect(listener.url).close()


def test_a_forked_child_leaves_the_path_to_its_parent(folder: Path) -> None:
    """It closes its copy, and the server can still be reached."""
    done = subprocess.run(
        [sys.executable, "-c", SERVER, f"unix://{folder}/s", "fork"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "listening\nTrue\n"
    assert list(folder.iterdir()) == []


def test_the_longest_path(folder: Path) -> None:
    """It can be listened at and connected to; one byte more is an error of the settings that gives both numbers."""
    longest = f"{folder}/" + "x" * (MAX_PATH_BYTES - len(f"{folder}/"))
    with listen(f"unix://{longest}") as listener:
        connect(listener.url).close()
    for door in (listen, connect):
        with pytest.raises(
            ConfigError, match=f"the path has {MAX_PATH_BYTES + 1} bytes, sockets take {MAX_PATH_BYTES}"
        ):
            door(f"unix://{longest}x")
    with pytest.raises(ConfigError, match="the path has "):
        listen(f"unix://{folder}/" + "ñ" * (MAX_PATH_BYTES // 2))


def test_a_missing_folder_and_a_missing_path(folder: Path) -> None:
    """Listening needs the first, connecting both."""
    url = f"unix://{folder}/nowhere/s"
    with pytest.raises(ConnectError, match=f"^cannot listen on {url}: no such file or directory$"):
        listen(url)
    with pytest.raises(ConnectError, match=f"^cannot connect to {url}: no such file or directory$"):
        connect(url)
    with pytest.raises(ConnectError, match="no such file or directory"):
        connect(f"unix://{folder}/s")


def test_both_peers_are_called_unix(folder: Path) -> None:
    """There is no address to name."""
    with listen(f"unix://{folder}/s") as listener, connect(listener.url) as client:
        assert select.select([listener], [], [], 10)[0] == [listener]
        server = listener.accept()
        assert server is not None
        with server:
            assert (client.peer, server.peer) == ("unix", "unix")
