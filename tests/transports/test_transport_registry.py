"""The scheme table, the doors `connect` and `listen`, and plug-ins found by entry points."""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bets_protocol import ConfigError
from bets_protocol.transports import (
    Listener,
    Stream,
    Transport,
    Url,
    connect,
    listen,
    register_transport,
    transport_schemes,
)
from bets_protocol.transports import registry as _registry
from bets_protocol.transports.memory import MemoryTransport
from bets_protocol.transports.sockets import SocketStream

Install = Callable[..., None]

GOOD_PLUGIN = """
from bets_protocol.transports import parse_url
from bets_protocol.transports.memory import MemoryTransport

class Carrier(MemoryTransport):
    made = 0
    def __init__(self):
        super().__init__()
        Carrier.made += 1

ready_made = MemoryTransport()
"""


@pytest.fixture(autouse=True)
def _table_restored() -> Iterator[None]:
    before = dict(_registry._table)
    yield
    _registry._table.clear()
    _registry._table.update(before)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions as pip does: in a folder on the path, a module and a `.dist-info` with entry points."""
    modules = set(sys.modules)

    def put(distribution: str, source: str, scheme: str, value: str, folder: str = "site") -> None:
        site = tmp_path / folder
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[bets_protocol.transports]\n{scheme} = {value}\n")
        (site / f"{value.partition(':')[0]}.py").write_text(source)
        monkeypatch.syspath_prepend(site)

    yield put
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_the_built_in_schemes_are_known() -> None:
    """Sorted."""
    assert transport_schemes() == ("memory", "tcp", "tls", "unix")


@pytest.mark.parametrize("door", [connect, listen])
def test_an_unknown_scheme_names_the_known_ones(door: Callable[[str], Stream | Listener]) -> None:
    """In one line, sorted."""
    with pytest.raises(ConfigError, match=r"url 'quic://h:1': unknown scheme 'quic'; known are memory, tcp, tls, unix"):
        door("quic://h:1")


@pytest.mark.parametrize("door", [connect, listen])
def test_tls_asks_for_its_files(door: Callable[[str], Stream | Listener]) -> None:
    """It is known without any setting, and says what it lacks."""
    with pytest.raises(ConfigError, match="TLS: not given: cert, key, ca: a server needs its certificate"):
        door("tls://127.0.0.1:1")


def test_a_call_may_bring_its_own_transports() -> None:
    """They come before the table, for that call alone; other schemes are looked up as ever."""
    mine = {"carrier": MemoryTransport(), "memory": MemoryTransport()}
    with listen("memory://x", transports=mine), listen("memory://x"), listen("carrier://y", transports=mine):
        with connect("carrier://y", transports=mine), connect("memory://x", transports=mine), connect("memory://x"):
            pass
        with pytest.raises(ConfigError, match="unknown scheme 'carrier'"):
            connect("carrier://y")
        with listen("tcp://127.0.0.1:0", transports=mine) as listener:
            assert listener.url.startswith("tcp://")


@pytest.mark.parametrize("door", [connect, listen])
def test_a_url_in_parts_is_checked_like_its_text(door: Callable[[Url], Stream | Listener]) -> None:
    """What `parse_url` refuses does not get past the doors as a `Url` either."""
    with pytest.raises(ConfigError, match="host is missing"):
        door(Url(scheme="tcp", port=1))


def test_a_url_in_parts_can_be_listened_at_and_connected_to() -> None:
    """`Url` and text are equally good."""
    url = Url(scheme="memory", host="in-parts")
    with listen(url) as listener, connect(url) as client:
        assert listener.url == str(url)
        assert client.peer == "memory"


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf, 1e9])
def test_connecting_needs_a_deadline(timeout_s: float) -> None:
    """A timeout that is none is refused before anything is tried."""
    with pytest.raises(ConfigError, match=r"timeout_s: expected more than 0 and at most 2147483 seconds"):
        connect("memory://x", timeout_s=timeout_s)


@pytest.mark.parametrize("backlog", [0, -1, 65_536])
def test_listening_needs_a_backlog(backlog: int) -> None:
    """Outside 1 to 65535 it is refused before anything is tried."""
    with pytest.raises(ConfigError, match=f"backlog: expected 1 to 65535, not {backlog}"):
        listen("memory://x", backlog=backlog)


def test_a_registered_transport_is_used() -> None:
    """From `register_transport` on, urls of its scheme go to it, and it is listed."""
    before = transport_schemes()
    register_transport("carrier", MemoryTransport())
    assert transport_schemes() == tuple(sorted({*before, "carrier"}))
    with listen("carrier://x"), connect("carrier://x") as client:
        assert client.peer == "memory"


def test_a_stream_that_takes_no_timeout_is_closed() -> None:
    """The door leaves nothing open behind an error, whatever it is."""

    class Stubborn(SocketStream):
        def set_timeout(self, timeout_s: float | None) -> None:
            raise KeyboardInterrupt(timeout_s)

    ours, theirs = socket.socketpair()
    made = Stubborn(ours, "somebody")

    class Carrier(MemoryTransport):
        def connect(self, _url: Url, _timeout_s: float) -> Stream:
            return made

    register_transport("carrier", Carrier())
    with theirs, pytest.raises(KeyboardInterrupt):
        connect("carrier://x")
    assert made.fileno() == -1


@pytest.mark.parametrize("scheme", ["carrier", "tcp"])
def test_a_scheme_is_registered_once(scheme: str) -> None:
    """A second transport is refused unless it says `replace`; the first stays."""
    first, second = MemoryTransport(), MemoryTransport()
    register_transport(scheme, first, replace=True)
    with pytest.raises(ConfigError, match=f"transport scheme '{scheme}' is taken by "):
        register_transport(scheme, second)
    assert _registry._table[scheme] is first
    register_transport(scheme, second, replace=True)
    assert _registry._table[scheme] is second


@pytest.mark.parametrize("scheme", ["", "1x", "TCP", "a:b", "ñ"])
def test_a_malformed_scheme_is_refused(scheme: str) -> None:
    """It could never stand in a url."""
    with pytest.raises(ConfigError, match="expected a lower-case letter"):
        register_transport(scheme, MemoryTransport())


@pytest.mark.parametrize("thing", [object(), MemoryTransport, None])
def test_what_is_no_transport_is_refused(thing: Transport) -> None:
    """A class is none either: its instance is."""
    with pytest.raises(ConfigError, match="is no transport"):
        register_transport("carrier", thing)


@pytest.mark.parametrize("value", ["carrier_plugin:Carrier", "carrier_plugin:ready_made"])
def test_an_installed_plugin_is_found_by_its_scheme(install: Install, value: str) -> None:
    """A class is called, an object taken as it is; both ends get the same transport."""
    install("carrier", GOOD_PLUGIN, "carrier", value)
    with listen("carrier://x"), connect("carrier://x") as client:
        assert client.peer == "memory"


def test_a_plugin_is_loaded_when_its_scheme_is_used(install: Install) -> None:
    """Not before, not by listing the schemes, and once."""
    install("carrier", GOOD_PLUGIN, "carrier", "carrier_plugin:Carrier")
    with listen("memory://x"):
        assert transport_schemes() == ("carrier", "memory", "tcp", "tls", "unix")
    assert "carrier_plugin" not in sys.modules
    for _ in range(2):
        listen("carrier://x").close()
    assert sys.modules["carrier_plugin"].Carrier.made == 1


def test_a_plugin_takes_no_scheme_from_another(install: Install) -> None:
    """What stands in the table comes first; the plug-in is not even loaded."""
    install("carrier", GOOD_PLUGIN, "memory", "carrier_plugin:Carrier")
    listen("memory://x").close()
    assert "carrier_plugin" not in sys.modules


def test_a_plugin_may_register_itself_when_imported(install: Install) -> None:
    """Then that is what serves its scheme."""
    source = GOOD_PLUGIN + (
        "from bets_protocol.transports import register_transport\nregister_transport('carrier', ready_made)\n"
    )
    install("carrier", source, "carrier", "carrier_plugin:Carrier")
    listen("carrier://x").close()
    assert _registry._table["carrier"] is sys.modules["carrier_plugin"].ready_made


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        (
            "import no_such_module_anywhere",
            "broken:T",
            "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        ),
        ("T = ", "broken:T", "SyntaxError"),
        ("x = 1", "broken:T", "AttributeError"),
        ("1 / 0", "broken:T", "ZeroDivisionError"),
        ("class T:\n    def __init__(self, needed): pass", "broken:T", "TypeError"),
        ("class T: pass", "broken:T", "is no transport"),
        ("def T(): pass", "broken:T", "is no transport"),
        ("", "broken", "<module 'broken' .* is no transport"),
    ],
)
def test_a_broken_plugin_is_named(install: Install, source: str, value: str, reason: str) -> None:
    """The error says which distribution and scheme, and what went wrong; asked again, it says it again."""
    install("crooked-carrier", source, "carrier", value)
    for _ in range(2):
        with pytest.raises(ConfigError, match=reason) as caught:
            listen("carrier://x")
        expected = f"transport scheme 'carrier' of the distribution crooked-carrier 1.2 ({value})"
        assert str(caught.value).startswith(expected)


def test_two_plugins_with_one_scheme_are_refused(install: Install) -> None:
    """Neither is preferred; both are named."""
    install("carrier-one", GOOD_PLUGIN, "carrier", "one_plugin:Carrier")
    install("carrier-two", GOOD_PLUGIN, "carrier", "two_plugin:Carrier")
    with pytest.raises(ConfigError, match=r"several distributions offer it: carrier-one 1\.2, carrier-two 1\.2"):
        listen("carrier://x")


def test_one_plugin_seen_twice_is_one(install: Install) -> None:
    """As when a distribution is installed and on the path as a source tree."""
    install("carrier", GOOD_PLUGIN, "carrier", "carrier_plugin:Carrier")
    install("carrier-again", GOOD_PLUGIN, "carrier", "carrier_plugin:Carrier", folder="other")
    listen("carrier://x").close()
