"""What the server's container runs: the addresses that it adds, and that they are those of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from bets_protocol import ConfigError
from bets_server.container import command_line
from bets_server.deploy.compose import compose_file
from tests.e2e.processes import Programs


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    """An environment that names a file with another port."""
    (tmp_path / "config.ini").write_text("[DEFAULT]\nSERVER_PORT = 4321\n")
    return {"BETS_CONFIG": str(tmp_path / "config.ini")}


def test_serve_listens_at_every_address_and_health_asks_there(config: dict[str, str]) -> None:
    """Port and listeners are those of the settings; only where they name no listener it is every address."""
    assert command_line(["serve"], {}) == ["serve", "--listen", "tcp://0.0.0.0:12345"]
    assert command_line(["serve"], config) == ["serve", "--listen", "tcp://0.0.0.0:4321"]
    assert command_line(["health"], config) == ["health", "tcp://127.0.0.1:4321"]
    config["SERVER_PORT"] = "99"
    assert command_line(["serve"], config) == ["serve", "--listen", "tcp://0.0.0.0:99"]
    urls = {"BETS_LISTEN": "tls://0.0.0.0:5, unix:///run/bets.sock, tcp://[::]:6"}
    listening = ["--listen", "tls://0.0.0.0:5", "--listen", "unix:///run/bets.sock", "--listen", "tcp://[::]:6"]
    assert ["serve", *listening] == command_line(["serve"], urls)
    assert command_line(["health"], urls) == ["health", "tls://127.0.0.1:5"]
    own = {"BETS_LISTEN": "tcp://127.0.0.1:7"}
    assert command_line(["serve"], own) == ["serve", "--listen", "tcp://127.0.0.1:7"]
    assert command_line(["health"], {"BETS_LISTEN": "unix:///run/bets.sock"}) == ["health", "unix:///run/bets.sock"]


def test_health_shows_the_certificate_of_the_settings(config: dict[str, str], tmp_path: Path) -> None:
    """What the mounted file says of TLS counts for the health check as for the server that it asks."""
    (tmp_path / "config.ini").write_text(
        "[DEFAULT]\nLISTEN = tls://0.0.0.0:5\nTLS_CERT = a.pem\nTLS_KEY = a.key\nTLS_CA = ca.pem\n"
    )
    files = ["--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-ca", "ca.pem"]
    assert ["health", "tls://127.0.0.1:5", *files] == command_line(["health"], config)


@pytest.mark.parametrize(
    "arguments", [["serve", "--listen", "tcp://127.0.0.1:1"], ["health", "tcp://server:1"], ["winners"], []]
)
def test_who_says_more_gets_what_was_said(arguments: list[str], config: dict[str, str]) -> None:
    """Nothing is added to a command line of one's own."""
    assert arguments == command_line(arguments, config)


def test_settings_that_cannot_be_used_are_an_error() -> None:
    """They are found before anything runs."""
    with pytest.raises(ConfigError, match="SERVER_PORT"):
        command_line(["serve"], {"SERVER_PORT": "x"})
    linked = {"SERVER_PORT": "tcp://10.0.0.1:12345", "BETS_LISTEN": "tcp://0.0.0.0:1"}
    assert command_line(["serve"], linked) == ["serve", "--listen", "tcp://0.0.0.0:1"]
    assert command_line(["health"], linked) == ["health", "tcp://127.0.0.1:1"]


def test_the_container_serves_and_is_healthy(programs: Programs) -> None:
    """As the image starts it: the server is reached at the port of its settings, and bad settings are one line."""
    settings = "[DEFAULT]\nSERVER_PORT = 0\nSERVER_LISTEN_BACKLOG = 77\nLOGGING_LEVEL = DEBUG\n"
    (programs.folder / "config.ini").write_text(settings)
    generated = dict(line.split("=", 1) for line in compose_file(3, draw=7)["services"]["server"]["environment"])
    server = programs.start("python", "-m", "bets_server.container", BETS_CONFIG="config.ini", **generated)
    server.wait_for_line("accept_connections | result: in_progress")
    (config,) = (line for line in server.lines if line.startswith("config | result: success"))
    assert "listen_backlog: 77 |" in config
    port = config.split("port: ")[1].split(" |")[0]
    assert f"listen: tcp://0.0.0.0:{port}" in config
    healthy = programs.start("python", "-m", "bets_server.container", "health", SERVER_PORT=port).expect()
    assert (healthy.out, healthy.err) == ("", "")
    server.stop()
    wrong = programs.start("python", "-m", "bets_server.container", SERVER_PORT="x").expect(2)
    assert wrong.err == "bets-server: environment SERVER_PORT: 'x': expected a whole number from 0 to 65535\n"
