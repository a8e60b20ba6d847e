"""Digests of what a deployment uploads: any change of an uploaded file is another digest."""

import os
from pathlib import Path

import pytest
import yaml

from opslib.definitions.content import digest_path, digest_uploads, uploaded_files
from opslib.definitions.deployment import read_deployment


@pytest.fixture
def code(tmp_path):
    """A code folder with files of every kind."""
    folder = tmp_path / "code"
    for name in ("score.py", "lib/a.py", "lib/b.txt", "data/big.bin", "__pycache__/score.pyc", "notes.md", ".env"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda code: os.utime(code / "score.py", (1, 1)), True),
        (lambda code: (code / "notes.md").write_text("other"), True),
        (lambda code: (code / "data/more.bin").write_text("x"), True),
        (lambda code: (code / "score.py").write_text("other"), False),
        (lambda code: (code / "lib/c.py").write_text(""), False),
        (lambda code: (code / "lib/a.py").rename(code / "lib/d.py"), False),
        (lambda code: (code / "lib/b.txt").unlink(), False),
        (lambda code: (code / "__pycache__/score.pyc").write_text("other"), False),
        (lambda code: (code / ".amlignore").write_text("data/\n"), False),
    ],
    ids=["time", "ignored file", "ignored folder", "content", "new", "renamed", "gone", "cache", "ignore file"],
)
def test_a_folders_digest_changes_with_what_is_uploaded(code, change, same):
    """Names and contents count, times and ignored files do not."""
    (code / ".amlignore").write_text("data/\n*.md\n")
    before = digest_path(code)
    assert digest_path(code) == before
    change(code)
    assert (digest_path(code) == before) is same


@pytest.mark.parametrize(
    ("ignored", "gitignore"),
    [
        ("", ""),
        ("__pycache__/\n*.md\n", "*.py\n"),
        ("lib/*\n!lib/a.py\n", ""),
        ("/data\n# notes.md\n\n.env  \n", ""),
        (None, "*.txt\n**/big.bin\n"),
    ],
)
def test_the_files_are_those_that_azure_ai_ml_uploads(code, ignored, gitignore):
    """The first ignore file counts, by its rules, as the SDK reads it."""
    from azure.ai.ml._utils._asset_utils import (  # noqa: PLC0415 - takes seconds
        get_ignore_file,
        get_upload_files_from_folder,
    )

    if ignored is not None:
        (code / ".amlignore").write_text(ignored)
    (code / ".gitignore").write_text(gitignore)
    (code / "linked").symlink_to(code / "lib", target_is_directory=True)
    expected = get_upload_files_from_folder(code, ignore_file=get_ignore_file(code))
    assert list(uploaded_files(code)) == sorted(name for _, name in expected)


def test_every_local_path_of_a_definition_has_a_digest(code, tmp_path):
    """Definition, code, model, conda file; a registered asset is named by its version."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.txt").write_text("weights")
    (tmp_path / "conda.yml").write_text("dependencies: []")
    content = {
        "name": "green",
        "model": {"path": "model"},
        "code_configuration": {"code": "code", "scoring_script": "score.py"},
        "environment": {"image": "mcr.microsoft.com/azureml/minimal:1", "conda_file": "conda.yml"},
        "instance_type": "Standard_F2s_v2",
    }
    path = tmp_path / "green.yml"

    def digests(**changes: object) -> dict[str, str]:
        path.write_text(yaml.safe_dump(content | changes))
        return digest_uploads(read_deployment(Path(path), "fraud"))

    assert digests().keys() == {str(path), "code_configuration.code", "model.path", "environment.conda_file"}
    assert digests(model="azureml:fraud:3").keys() == {
        str(path),
        "code_configuration.code",
        "environment.conda_file",
    }
    before = digests()
    (tmp_path / "model/model.txt").write_text("others")
    assert {name for name, digest in digests().items() if digest != before[name]} == {"model.path"}
