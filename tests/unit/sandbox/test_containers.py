"""What runs a container here: a declared command, an engine that answers, or neither."""

from pathlib import Path

import pytest

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.instances.containers import SERVER_ROUTES, Route, Runtime, read_routes, translated
from opslib.sandbox.instances.engine import Engine, find_engine, options
from opslib.sandbox.instances.image_map import ImageMapError, read_image_map
from opslib.sandbox.instances.local_commands import ImageMap, LocalCommand

MAP = "images:\n  - image: own/*:1\n    command: [python, '{map}/serve.py', '{port}']\n"


def test_an_image_map_is_read_with_its_folder(tmp_path: Path):
    """The first pattern that matches counts; placeholders that are not known are refused beforehand."""
    path = tmp_path / "images.yml"
    path.write_text(MAP)
    read = read_image_map(path)
    found = read.find("own/thing:1")
    assert found is not None
    assert found.filled({"map": str(read.folder), "port": "80"}) == ["python", f"{tmp_path}/serve.py", "80"]
    assert read.find("own/thing:2") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("images: [", "is not YAML"),
        ("- image: x\n", "the file"),
        ("images: [{image: x}]", "images.0.command"),
        ("images: [{image: x, command: [a], port: 1}]", "images.0.port"),
        ("images: [{image: x, command: ['{prot}']}]", "{prot} is not known"),
    ],
)
def test_what_is_no_image_map_is_refused_with_its_place(tmp_path: Path, content: str | None, message: str):
    """The sandbox does not start with it."""
    path = tmp_path / "images.yml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ImageMapError) as error:
        read_image_map(path)
    assert message in str(error.value)


def test_a_client_without_a_daemon_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its own last line is the reason; an engine that answers is taken, podman first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine().problem == "neither podman nor docker is installed"
    _program(tmp_path / "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert find_engine() == Engine(problem="docker does not answer: Cannot connect to the Docker daemon")
    _program(tmp_path / "podman", "exit 0")
    assert find_engine() == Engine(str(tmp_path / "podman"), "")


def test_a_container_is_run_with_its_ports_folders_and_variables():
    """On loopback, labelled with the sandbox that it belongs to, removed at its end."""
    given = options({8501: 40001}, {"/var/models": "/state/var/models"}, {"A": "b"})
    assert Engine("/bin/podman", "").run("instance-1", "/state", "own:1", given) == [
        "/bin/podman", "run", "--rm", "--name", "instance-1", "--label", "opslib.sandbox=/state",
        "--publish", "127.0.0.1:40001:8501", "--volume", "/state/var/models:/var/models:ro",
        "--env", "A=b", "own:1",
    ]  # fmt: skip


def test_a_declared_command_comes_before_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without either the refusal has the reason, and how to declare one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    declared = LocalCommand("own:1", ("serve",))
    runtime = Runtime(ImageMap((declared,)))
    assert runtime.container("own:1", SERVER_ROUTES).local == declared
    with pytest.raises(ArmError, match="neither podman nor docker is installed") as error:
        runtime.container("other:1", SERVER_ROUTES)
    assert error.value.status == 501
    assert "--image-map FILE" in error.value.message
    _program(tmp_path / "docker", "exit 0")
    assert runtime.container("other:1", SERVER_ROUTES).engine.program == str(tmp_path / "docker")


def test_routes_are_those_of_the_environment():
    """A port that is no number is refused; what is not given is the inference server's."""

    def environment(**routes: object) -> Resource:
        return Resource("/e/versions/1", "environments/versions", {"properties": {"inferenceConfig": routes}})

    read = read_routes(environment(scoringRoute={"port": "8501", "path": "v1/predict"}))
    assert (read.scoring, read.liveness) == (Route(8501, "/v1/predict"), SERVER_ROUTES.liveness)
    assert read.ports == (8501, 5001)
    with pytest.raises(ArmError, match="must be a number"):
        read_routes(environment(scoringRoute={"port": "http"}))


def test_paths_of_the_container_are_those_below_the_instance():
    """Only whole folders are translated."""
    values = {"A": "/var/models", "B": "/var/models/half", "C": "/var/modelsX", "D": "x"}
    assert translated(values, ("/var/models",), Path("/i")) == {
        "A": "/i/var/models",
        "B": "/i/var/models/half",
        "C": "/var/modelsX",
        "D": "x",
    }


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
