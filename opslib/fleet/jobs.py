"""The files of engines that run a wave by themselves: an Airflow DAG, or the pipeline jobs of Azure ML."""

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from opslib.errors import ParameterError
from opslib.fleet.plan import WavePlan
from opslib.pipelines.release import APPROVERS, Release
from opslib.pipelines.render import render

AZUREML = "azureml:"
AIRFLOW = "airflow"


def airflow_files(plan: WavePlan, root: Path, archive: Path, options: Sequence[str] = ()) -> Mapping[str, str]:
    """Return the DAG of a wave, by its path.

    Parameters
    ----------
    plan
        The plan.
    root
        Folder of the wave's first record, which holds the plan.
    archive
        Folder of all runs.
    options
        Words that the command of each run ends with.
    """
    groups = {
        (number, place): [member.number for member in group]
        for number, batch in enumerate(plan.batches, start=1)
        for place, group in enumerate(plan.groups(batch), start=1)
    }
    words = "".join(f" {shlex.quote(word)}" for word in options)
    values = {
        "wave": plan.wave,
        "total": len(plan.members),
        "root": root.name,
        "archive": str(archive.resolve()),
        "requirement": f"opslib=={version('opslib')}",
        "groups": groups,
        "command": repr(f'opslib fleet member "$WAVE" "$NUMBER"{words}'),
    }
    return {f"dags/wave_{re.sub('[^a-zA-Z0-9]', '_', plan.wave.name)}.py": render("airflow-wave.py.j2", values)}


def azureml_files(on: str, plan: WavePlan, file: Path, options: Sequence[str] = ()) -> Mapping[str, str]:
    """Return the pipeline jobs of a wave, by path relative to the folder that is uploaded.

    Parameters
    ----------
    on
        ``azureml:COMPUTE``.
    plan
        The plan.
    file
        The wave file, relative to the present folder, which is uploaded.
    options
        Words that each command ends with.

    Raises
    ------
    ParameterError
        If the file is not below the present folder, the compute's name is missing, or the target is the sandbox.
    """
    compute = on.removeprefix(AZUREML)
    if not re.fullmatch(r"[A-Za-z0-9-]+", compute):
        raise ParameterError(f"--on: expected azureml:COMPUTE with the name of a compute cluster, got {on!r}")
    if file.is_absolute() or ".." in file.parts:
        raise ParameterError(f"expected a wave file in this folder or below it, which is uploaded, got {file}")
    if plan.wave.target == "sandbox":
        raise ParameterError("target is the sandbox of this machine, which a job of Azure ML cannot reach")
    name = f"wave-{plan.wave.name}"
    words = "".join(f" {shlex.quote(word)}" for word in options)
    first, later = f"run {shlex.quote(str(file))}", f"resume {plan.wave.name}"
    steps = {
        f"batch_{number}": f"opslib fleet {later if number > 1 else first} --on local --batch {number}{words}"
        for number in range(1, len(plan.batches) + 1)
    }
    requirement = f"opslib=={version('opslib')}"
    approvers = tuple((file.parent / one).as_posix() for one in APPROVERS if (file.parent / one).is_file())
    values = {
        "wave": plan.wave,
        "total": len(plan.members),
        "file": file,
        "compute": compute,
        "steps": steps,
        "release": Release(name, "", (), plan.wave.target, "", False, approvers, requirement),
    }
    paths = {
        f"azureml/{name}.yml": "azureml-wave.yml.j2",
        f"azureml/{name}-resume.yml": "azureml-wave-resume.yml.j2",
        f"azureml/{name}-conda.yml": "azureml-conda.yml.j2",
    }
    return {path: render(template, {**values, "path": path}) for path, template in paths.items()}
