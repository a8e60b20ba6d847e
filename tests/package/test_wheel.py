"""The wheel: what travels in it, and that it works without the repository."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from opslib.parameters import RUNBOOKS

ROOT = Path(__file__).parents[2]
SOURCES = ("opslib", "notebooks", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, since a build leaves files beside them that a later one would pack."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(source)]
    _run([sys.executable, "-m", "pip", "--quiet", *build], cwd=source)
    (built,) = target.glob("opslib-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel's opslib, and otherwise the packages of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    (packages,) = folder.glob("lib/python*/site-packages")
    (folder / "share").symlink_to(Path(sys.prefix) / "share")  # nbconvert's own templates
    (packages / "present.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")))
    install = ["install", "--quiet", "--no-compile", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    _run([sys.executable, "-m", "pip", "--python", python, *install], cwd=folder)
    return python


def test_the_wheel_holds_what_opslib_reads(wheel):
    """Modules, the notebooks byte by byte, the report's template and the demo's files; no tests and no runs."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        for runbook in RUNBOOKS:
            shipped = archive.read(f"opslib/notebooks/{runbook}.ipynb")
            assert shipped == (ROOT / f"notebooks/{runbook}.ipynb").read_bytes()
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "opslib").rglob("*")
        if path.is_file() and not {"__pycache__", "notebooks"} & set(path.parts)
    }
    assert {"opslib/py.typed", "opslib/demo/harborshield/endpoint.yml"} <= sources
    assert sources <= held
    assert {name.split("/")[0].split("-")[0] for name in held} == {"opslib"}


def test_the_wheel_works_from_an_empty_folder(installed, tmp_path, monkeypatch):
    """The command line, the runbooks' notebooks, the report's template and the demo's files are found."""
    for name in ("PYTHONPATH", "OPSLIB_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(tmp_path / "no-sandbox"))
    here = tmp_path / "empty"
    here.mkdir()
    opslib = str(installed.with_name("opslib"))

    where = _run([installed, "-c", "import opslib; print(opslib.__file__)"], cwd=here).stdout
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    assert "notebooks" in _run([opslib, "--help"], cwd=here).stdout
    code = (
        "from importlib.metadata import entry_points as all; print(*(one.load() for one in all(group='pytest11')))"
    )
    plugins = _run([installed, "-c", code], cwd=here).stdout
    assert str(Path(where.strip()).parent / "sandbox/testing/pytest_plugin.py") in plugins

    refused = _run([opslib, "run", "rollback", "-p", "endpoint=fraud"], cwd=here, code=2)
    assert "sandbox" in refused.stdout
    (run,) = (here / "runs").glob("2*/*")
    assert {"notebook.ipynb", "report.html", "run.json"} <= {path.name for path in run.iterdir()}

    _run([opslib, "notebooks", "mine"], cwd=here)
    assert {path.stem for path in (here / "mine").iterdir()} == {*RUNBOOKS, "explore"}
    assert "mine/canary.ipynb" in _run([opslib, "notebooks", "mine"], cwd=here, code=2).stderr

    write = (
        "from pathlib import Path; from opslib.demo import claims; claims.write_repository(Path('harborshield'))"
    )
    _run([installed, "-c", write], cwd=here)
    assert (here / "harborshield/endpoint.yml").is_file()


def _run(command: list[str | Path], cwd: Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run a command; fail with all that it printed if it ends with another exit code."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
