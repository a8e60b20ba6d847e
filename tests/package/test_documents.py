import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", "opslib/README.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name):
    """Every relative link of a document names a file or folder of the repository."""
    document = ROOT / name
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text())
    relative = [link for link in links if "://" not in link]
    assert [link for link in relative if not (document.parent / link).exists()] == []


def test_the_architecture_page_names_every_folder_and_no_other():
    """opslib/README.md lists each folder of the package, and each path that it names exists."""
    text = (ROOT / "opslib/README.md").read_text()
    folders = {path.name for path in (ROOT / "opslib").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if not re.search(rf"`{name}/?`", text)} == set()
    paths = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py|[a-z_]+\.py)`", text)
    assert paths
    assert [path for path in paths if not any((base / path).exists() for base in (ROOT, ROOT / "opslib"))] == []


def test_pytest_has_no_workers_unless_they_are_wanted():
    """A single test starts in this process; the README, CI and the check ask for workers."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "-n" not in options["addopts"].split()
    workers = "pytest -n 4"
    assert workers in (ROOT / "README.md").read_text()
