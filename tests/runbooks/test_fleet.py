"""Waves on the sandbox: on processes of this machine, and on Dask workers that are killed."""

from pathlib import Path

import yaml

from opslib.cli.main import main


def write_wave(folder: Path, worlds, **given: object) -> Path:
    """A wave file that selects the worlds by their names."""
    path = folder / "wave.yml"
    content = {
        "version": 1,
        "name": "december",
        "select": {"match": {"endpoint": [one.name for one in worlds]}},
        **given,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_wave_rolls_back_batch_by_batch_and_resumes_what_is_left(make_world, tmp_path, monkeypatch, capsys):
    """A failing batch stops it; the rest stays as it was, and a resume runs exactly that."""
    monkeypatch.chdir(tmp_path)
    worlds = [make_world(), make_world()]
    probes = worlds[0].probes("blue")
    path = write_wave(
        tmp_path,
        worlds,
        runbook="rollback",
        batches=[1],
        parameters={"to": "blue", "probes": probes, "verify_requests": 2},
    )
    runs = str(tmp_path / "runs")
    assert main(["fleet", "plan", str(path), "--runs", runs]) == 0
    print(capsys.readouterr().out)
    code = main(["fleet", "run", str(path), "--runs", runs])
    out = capsys.readouterr()
    print(out.out, out.err)
    assert code == 0
    assert main(["verify", runs]) == 0
    assert main(["fleet", "status", "december", "--runs", runs, "--plot", "x.png"]) == 0
    print(capsys.readouterr().out)
    assert 0
