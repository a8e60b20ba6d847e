"""The validate runs of an archive: what shows that a version has passed its validation."""

from collections.abc import Iterator
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.run.record import Record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome, Scope
from opslib.policy.validations import ValidationRun


def find_validations(
    archive: Path, scope: Scope, endpoint: str, deployment: str, version_sha256: str
) -> tuple[ValidationRun, ...]:
    """Return the validate runs of a deployment that reached a result, newest first.

    The newest of the version is verified (seal, files, ledger); it alone decides.
    """
    found: list[ValidationRun] = []
    for folder, record in _read_results(archive, scope, endpoint, deployment):
        newest = record.results.get("version_sha256") == version_sha256 and not any(
            run.version_sha256 == version_sha256 for run in found
        )
        found.append(_describe(record, _verify(folder) if newest else ""))
    return tuple(found)


def _read_results(archive: Path, scope: Scope, endpoint: str, deployment: str) -> Iterator[tuple[Path, Record]]:
    """Yield the runs that validated this deployment of this workspace."""
    for folder, record in read_archive(archive, endpoint):
        if record.runbook != "validate" or record.outcome not in {Outcome.SUCCEEDED, Outcome.FAILED}:
            continue
        same = record.scope is not None and record.scope.workspace_id.lower() == scope.workspace_id.lower()
        if same and str(record.results.get("deployment", "")).lower() == deployment.lower():
            yield folder, record


def _describe(record: Record, problem: str) -> ValidationRun:
    results = record.results
    return ValidationRun(
        run_id=record.run_id,
        finished_at=record.finished_at or record.started_at,
        version_sha256=str(results.get("version_sha256") or ""),
        validation_sha256=str(results.get("validation_sha256") or ""),
        correct=int(results.get("correct") or 0),
        requests=int(results.get("requests") or 0),
        problem=problem,
    )


def _verify(folder: Path) -> str:
    """Return what is wrong with a sealed run or its ledger; empty where they are sound."""
    try:
        found = verify(folder)
    except RecordError as error:
        return str(error)
    wrong = [one for one in found.findings if one.run == folder.name or one.state is VerifyState.TAMPERED]
    return "; ".join(str(one) for one in wrong[:2])
