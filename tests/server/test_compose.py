"""The Compose file: what it holds for any number of agencies, and that a bad request changes nothing."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bets_client import config as client_config
from bets_protocol.cli.settings import Setting
from bets_server import config as server_config
from bets_server.deploy import compose
from bets_server.deploy.compose import MAX_CLIENTS, compose_file, run
from tests.e2e.processes import unmeasured_environment

PROJECT = Path(__file__).resolve().parent.parent.parent
SCHEMA = PROJECT / "tests" / "campaigns" / "containers" / "compose-spec.json"
DEADLINE_S = 30


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder with what the script needs of the project, where new files may be read by all."""
    folder = tmp_path / "project"
    for name in ("generar-compose.sh", "src/bets_server/deploy/compose.py", "server/config.ini", "client/config.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
        (folder / name).chmod(0o644)
    mask = os.umask(0o022)
    yield folder
    os.umask(mask)


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service["environment"])


@pytest.mark.parametrize("clients", [0, 3])
def test_a_file_is_as_the_specification_has_it(clients: int) -> None:
    """It fits the schema, and repeats itself without aliases, which not every reader knows."""
    text = yaml.safe_dump(compose_file(clients, draw=7), sort_keys=False)
    jsonschema.validate(yaml.safe_load(text), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert "&id" not in text


@pytest.mark.parametrize("clients", [0, 1, MAX_CLIENTS])
def test_every_agency_has_its_service(clients: int) -> None:
    """Services and containers are named and numbered, and each agency has its own file and a healthy server."""
    services = compose_file(clients, draw=7)["services"]
    names = ["server", *(f"client{number}" for number in range(1, clients + 1))]
    assert names == list(services)
    assert names == [service["container_name"] for service in services.values()]
    for number, name in enumerate(names[1:], 1):
        environment = environment_of(services[name])
        found = [environment[key] for key in ("CLI_ID", "AGENCIA", "BETS_DRAW")]
        assert found == [str(number), str(number), "7"]
        volumes = ["./client/config.yaml:/config.yaml:ro", f"./.data/agency-{number}.csv:/agency.csv:ro"]
        assert volumes == services[name]["volumes"]
        assert services[name]["depends_on"] == {"server": {"condition": "service_healthy"}}


def test_what_the_legacy_users_rely_on() -> None:
    """Project, network, images and the server's environment have the names of old, and nothing counts to 0."""
    found = compose_file(0, draw=7)
    assert (found["name"], list(found["services"])) == ("tp0", ["server"])
    subnet = {"ipam": {"driver": "default", "config": [{"subnet": "172.25.125.0/24"}]}}
    assert {"testing_net": subnet} == found["networks"]
    server = found["services"]["server"]
    assert environment_of(server) == {
        "PYTHONUNBUFFERED": "1",
        "EXPECTED_CLIENTS": "1",
        "BETS_DRAW": "7",
    }
    found = compose_file(3, draw=7)
    assert environment_of(found["services"]["server"])["EXPECTED_CLIENTS"] == "3"
    assert ["server:latest", *["client:latest"] * 3] == [service["image"] for service in found["services"].values()]


@pytest.mark.parametrize(
    ("service", "folder", "settings", "demanded"),
    [
        ("server", "server", server_config.SETTINGS, {"EXPECTED_CLIENTS"}),
        ("client1", "client", client_config.SETTINGS, {"CLI_ID", "AGENCIA"}),
    ],
)
def test_what_the_mounted_files_say_has_effect(
    service: str, folder: str, settings: tuple[Setting, ...], demanded: set[str]
) -> None:
    """Of the variables that outrank a key of the file, the container has those only that tell one agency's number."""
    image = [line.split() for line in (PROJECT / folder / "Dockerfile").read_text(encoding="utf-8").splitlines()]
    found = set(environment_of(compose_file(1, draw=7)["services"][service]))
    found |= {word.partition("=")[0] for words in image if words[:1] == ["ENV"] for word in words[1:]}
    outranking = {variable for setting in settings if setting.key is not None for variable in setting.env}
    assert found & outranking == demanded


def test_nothing_may_write_or_gain_rights() -> None:
    """The files are read-only but for the book, no process gets more rights than it has, none leaves a core dump."""
    for name, service in compose_file(1, draw=7)["services"].items():
        assert (
            service["read_only"],
            service["cap_drop"],
            service["security_opt"],
            service["ulimits"],
        ) == (True, ["ALL"], ["no-new-privileges:true"], {"core": 0})
        writable = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
        assert writable == (["book:/book"] if name == "server" else [])


def test_writing_makes_empty_data_files_and_keeps_full_ones(project: Path) -> None:
    """Every agency has a data file afterwards: Docker would make a folder in the place of a missing one."""
    (project / ".data").mkdir()
    (project / ".data" / "agency-2.csv").write_text("Ana,Paz,30904465,1999-03-17,7574\n")
    file = project / "docker-compose-dev.yaml"
    assert run([str(file), "3"], {"BETS_DRAW": "4294967295"}, project) == 0
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert list(found["services"]) == ["server", "client1", "client2", "client3"]
    assert environment_of(found["services"]["client3"])["BETS_DRAW"] == "4294967295"
    sizes = {path.name: path.stat().st_size for path in (project / ".data").iterdir()}
    assert sizes == {"agency-1.csv": 0, "agency-2.csv": 33, "agency-3.csv": 0}


def test_a_file_elsewhere_finds_its_way_back(project: Path) -> None:
    """The paths lead from the file's folder to the project, and a rewritten file keeps its mode."""
    file = project / "deploy" / "compose.yaml"
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o640)
    link = project / "link.yaml"
    link.symlink_to(file)
    assert run([str(link), "1"], {}, project) == 0
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert found["services"]["client1"]["volumes"][0] == "../client/config.yaml:/config.yaml:ro"
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)
    assert [file] == list(file.parent.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: ./generar-compose.sh FILE N"),
        (["out.yaml"], "usage: ./generar-compose.sh FILE N"),
        (["", "5"], "usage: ./generar-compose.sh FILE N"),
        (["out.yaml", "5", "6"], "usage: ./generar-compose.sh FILE N"),
        (["out.yaml", "five"], "N is 'five': expected a whole number from 0 to 251"),
        (["out.yaml", "-1"], "N is '-1': expected a whole number from 0 to 251"),
        (["out.yaml", "+1"], "N is '+1': expected a whole number from 0 to 251"),
        (["out.yaml", "1.0"], "N is '1.0': expected a whole number from 0 to 251"),
        (["out.yaml", "٣"], "N is '٣': expected a whole number from 0 to 251"),
        (["out.yaml", "252"], "N is '252': expected a whole number from 0 to 251"),
        (["out.yaml", "9" * 5000], f"N is '{'9' * 5000}': expected a whole number from 0 to 251"),
        (["missing/out.yaml", "1"], "missing/out.yaml: cannot write it: No such file or directory"),
        (["out.yaml/out.yaml", "1"], "out.yaml/out.yaml: cannot write it: Not a directory"),
        (["src", "1"], "src: cannot write it: Is a directory"),
        (["/dev/full", "1"], "/dev/full: cannot write it: No space left on device"),
        (["a\0b", "1"], "embedded null"),  # "byte" or "character", as the Python has it
    ],
)
def test_a_bad_request_is_one_line_and_changes_nothing(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """Exit code 2, the reason on standard error, and the file of before."""
    monkeypatch.chdir(project)
    out = project / "out.yaml"
    out.write_text("old")
    assert run(arguments, {}, project) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith("generar-compose.sh: ")
    assert said in printed.err
    assert out.read_text() == "old"
    assert sorted(path.name for path in project.iterdir()) == [
        "client",
        "generar-compose.sh",
        "out.yaml",
        "server",
        "src",
    ]


@pytest.mark.parametrize("draw", ["-1", "4294967296", "x"])
def test_a_draw_that_is_none_is_refused(project: Path, capsys: pytest.CaptureFixture[str], draw: str) -> None:
    """BETS_DRAW is checked as N is."""
    assert run([str(project / "out.yaml"), "1"], {"BETS_DRAW": draw}, project) == 2
    assert f"BETS_DRAW is '{draw}'" in capsys.readouterr().err
    assert not (project / "out.yaml").exists()


def test_data_files_that_cannot_be_made_are_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written when an agency would have no data file."""
    (project / ".data").write_text("a file")
    assert run([str(project / "out.yaml"), "1"], {}, project) == 2
    assert ".data: cannot make it: File exists" in capsys.readouterr().err
    assert not (project / "out.yaml").exists()


@pytest.fixture
def script(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script as others do, from another folder, with this Python as the host's."""
    here = Path(sys.executable).parent

    def call(
        *arguments: str, name: str = "project/generar-compose.sh", path: str = f"{here}:{os.defpath}"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", name, *arguments],
            cwd=project.parent,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    return call


def test_the_script_writes_the_file(project: Path, script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """It needs nothing of the project but the one module, and says nothing when all is well."""
    done = script("project/docker-compose-dev.yaml", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = yaml.safe_load((project / "docker-compose-dev.yaml").read_text(encoding="utf-8"))
    draw = environment_of(found["services"]["server"])["BETS_DRAW"]
    assert compose_file(2, draw=int(draw)) == found
    done = script("project/docker-compose-dev.yaml", "two")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "generar-compose.sh: N is 'two': expected a whole number from 0 to 251\n"


def test_the_script_through_a_link_and_into_a_pipe(
    project: Path, script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """It finds its project wherever it is called from, and prints where it is told to."""
    link = project.parent / "link.sh"
    link.symlink_to("project/generar-compose.sh")
    done = script("/dev/stdout", "1", name="link.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(yaml.safe_load(done.stdout)["services"]) == ["server", "client1"]
    assert (project / ".data" / "agency-1.csv").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_does_not_start_another_number_of_agencies(project: Path) -> None:
    """A file that is there stays, for it is a draw. Who asks for another number is told, who asks for none is not."""
    shutil.copy2(PROJECT / "Makefile", project)
    (project / "docker-compose-dev.yaml").write_text(yaml.safe_dump(compose_file(2, draw=7)), encoding="utf-8")
    before = (project / "docker-compose-dev.yaml").read_bytes()

    def make(*arguments: str) -> tuple[int, str]:
        command = ["make", "compose-file", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return done.returncode, done.stderr.partition("\n")[0]

    said = (
        "docker-compose-dev.yaml has 2 agencies, not 4; for a new draw with 4: "
        "./generar-compose.sh docker-compose-dev.yaml 4"
    )
    assert make("AGENCIES=4") == (2, said)
    assert [make(), make("AGENCIES=2")] == [(0, ""), (0, "")]
    assert (project / "docker-compose-dev.yaml").read_bytes() == before
    (project / "docker-compose-dev.yaml").write_text(json.dumps(compose_file(2, draw=7), indent=2), encoding="utf-8")
    assert [make("AGENCIES=4"), make("AGENCIES=2")] == [(2, said), (0, "")]


def test_a_bare_python_writes_the_same_file(project: Path) -> None:
    """Without PyYAML, which pip refuses to install on current systems, the file says the same in YAML's JSON style."""
    module = str(project / "src" / "bets_server" / "deploy" / "compose.py")
    out = project / "out.yaml"
    done = subprocess.run(
        [sys.executable, "-S", "-I", module, str(out), "2"],
        env=unmeasured_environment(BETS_DRAW="7"),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    comment, _, text = out.read_text(encoding="utf-8").partition("\n")
    assert comment.startswith("# Written by generar-compose.sh, in the JSON style of YAML")
    assert compose_file(2, draw=7) == json.loads(text) == yaml.safe_load(text)


def test_the_script_finds_a_bare_python_or_says_what_to_install(
    project: Path, script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """It needs no package, and where there is no Python at all one line names the commands that bring one."""
    text = (project / "generar-compose.sh").read_text(encoding="utf-8")
    (project / "generar-compose.sh").write_text(text.replace("/usr/bin/python3", "/nonexistent/python3"))
    tools = project.parent / "tools"
    tools.mkdir()
    for name in ("sh", "readlink", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = script("project/out.yaml", "1", path=str(tools))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "found no Python 3.8 or later: apt-get install python3 (Debian, Ubuntu)" in done.stderr
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    (tools / "python3").chmod(0o755)
    done = script("project/out.yaml", "1", path=str(tools))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "in the JSON style" in (project / "out.yaml").read_text(encoding="utf-8").partition("\n")[0]


def test_the_module_suits_older_pythons_of_hosts() -> None:
    """It is written in the language of Python 3.8, as the script promises."""
    ast.parse(Path(compose.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("name", [".data/agency-2.csv", "server/config.ini", "client/config.yaml"])
def test_a_folder_that_docker_has_made_is_an_error(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Docker makes a folder where a mounted file is missing: nothing is written, and it is said how to go on."""
    (project / name).unlink(missing_ok=True)
    (project / name).mkdir(parents=True)
    out = project / "out.yaml"
    assert run([str(out), "2"], {}, project) == 2
    said = capsys.readouterr().err
    assert (said.count("\n"), out.exists()) == (1, False)
    assert said.startswith(f"generar-compose.sh: {project / name}: is a folder, as Docker makes one")
    assert said.endswith(f"sudo rmdir {project / name}\n")
    assert not (project / ".data" / "agency-1.csv").exists()


def test_what_will_not_work_in_the_containers_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing settings, files that only their owner may read, and agencies without bets among others that have some."""
    data = project / ".data"
    data.mkdir()
    for agency in (1, 3):
        (data / f"agency-{agency}.csv").write_text("Ana,Paz,30904465,1999-03-17,7574\n")
    (data / "agency-3.csv").chmod(0o640)
    (project / "server" / "config.ini").unlink()
    assert run([str(project / "out.yaml"), "5"], {}, project) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"generar-compose.sh: {project}/server/config.ini: is missing, and Docker would make a folder of it",
        f"generar-compose.sh: {data}/agency-3.csv: cannot be read by user 10001 of the containers: chmod o+r",
        f"generar-compose.sh: {data}/agency-2.csv and 2 more: no bets in there, and the draw waits for every agency",
    ]


def test_a_deleted_working_folder_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name from the working folder cannot be written there; another one can."""
    gone = project.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(["out.yaml", "1"], {}, project) == 2
    assert capsys.readouterr().err == "generar-compose.sh: out.yaml: cannot write it: No such file or directory\n"
    assert run([str(project / "out.yaml"), "1"], {}, project) == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("goal", ["data", "docker-compose-up"])
@pytest.mark.parametrize("name", [".data/agency-2.csv", "server/config.ini", "client/config.yaml"])
def test_make_stops_at_a_folder_that_docker_has_made(project: Path, goal: str, name: str) -> None:
    """It comes before anything that needs Docker, and is said as the script says it."""
    shutil.copy2(PROJECT / "Makefile", project)
    (project / name).unlink(missing_ok=True)
    (project / name).mkdir(parents=True)
    done = subprocess.run(
        ["make", goal, "COMPOSE_FILE=none"],
        cwd=project,
        env={**os.environ, "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: is a folder, as Docker makes one where a mounted file is missing")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_data_ends_at_a_file_that_it_cannot_write(project: Path, tmp_path: Path) -> None:
    """A copy that fails in the middle is not hidden by the next one that works; full files are left as they are."""
    shutil.copy2(PROJECT / "Makefile", project)
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n[ $1 = build ] || { mkdir -p .data/.sample && cd .data/.sample && touch 1 2 3; }\n")
    docker.chmod(0o755)
    (project / ".data").mkdir()
    (project / ".data" / "2").symlink_to("missing/2")
    done = subprocess.run(
        ["make", "data"],
        cwd=project,
        env={**os.environ, "PATH": f"{tmp_path}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "missing" in done.stderr or "'../2'" in done.stderr


def test_the_echo_script_without_docker_says_fail_and_nothing_else(tmp_path: Path) -> None:
    """Whatever is missing, the script prints its one line."""
    for name in ("sh", "date"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [tmp_path / "sh", PROJECT / "validar-echo-server.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "action: test_echo_server | result: fail\n", "")
