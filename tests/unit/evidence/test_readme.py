"""The commands of runs/README.md work, and it names every file."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from evidence_fixture import make_archive

README = (Path(__file__).parents[3] / "runs" / "README.md").read_text()


def by_hand(archive, folder):
    """The block of commands, with this run's names."""
    (block,) = re.findall(r"## Verifying by hand.*?```\n(.*?)```", README, re.DOTALL)
    (key,) = (archive / "KEYS").iterdir()
    block = block.replace("/tmp/", f"{archive.parent}/")  # noqa: S108 - is replaced
    return block.replace("RUN", folder.name).replace("2026-01", folder.parent.name).replace("KEPT.pem", str(key))


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("openssl")), reason="jq or openssl is not here")
def test_the_archive_is_verified_by_hand_with_standard_tools(tmp_path):
    """The commands find nothing in a sound archive, and a changed file in an altered one."""
    archive = tmp_path / "runs"
    folder = make_archive(archive, 2)[0]
    script = by_hand(archive, folder)

    def typed():
        return subprocess.run(["bash", "-c", script], cwd=archive, capture_output=True, text=True, check=False)

    done = typed()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken" not in done.stdout
    assert "Signature Verified Successfully" in done.stdout
    first, second = done.stdout.splitlines()[:2]
    assert first.split()[0] == second
    (folder / "run.json").chmod(0o644)
    (folder / "run.json").write_text("{}")
    assert "run.json: FAILED" in typed().stdout


def test_every_file_of_a_run_is_explained(tmp_path):
    """The README names every file of a run and of an archive."""
    archive = tmp_path / "runs"
    folder = make_archive(archive, 1)[0]
    for path in folder.iterdir():
        assert f"`{path.name}`" in README
    for path in archive.iterdir():
        assert path == folder.parent or path.name in README
