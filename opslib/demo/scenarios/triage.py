"""PineCare: a hospital's triage model takes no production traffic before it is validated and its plan approved."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_endpoint
from opslib.azure.role_assignments import read_assignments_of, read_roles
from opslib.azure.source import find_source
from opslib.demo.scenarios.effort import effort, effort_table
from opslib.demo.scenarios.measures import (
    LATENCY,
    by_deployment,
    error_rate,
    events,
    lost_requests,
    p95,
    proven_claims,
    sealed_runs,
    served,
    traced_requests,
)
from opslib.demo.scenarios.objective import Objective, all_of, at_least, at_most, not_measured
from opslib.demo.scenarios.patients import PEOPLE, write_repository
from opslib.demo.scenarios.quick import QUICK
from opslib.demo.scenarios.scenario import ApproveStep, Evidence, RunStep, Scenario, Size, Step
from opslib.demo.scenarios.titles import TITLES
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Outcome
from opslib.show.table import Table

ENDPOINT = "triage"
P95_MS = 300.0
CORRECT_PERCENT = 95.0
RECORDS = "pinecarerecords"
"""Storage account of the patients' records, which the endpoint's identity must not read."""

ARTIFACT_ROLES = frozenset({"AcrPull", "Storage Blob Data Reader", "AzureML Metrics Writer"})
"""What reading artifacts and reporting metrics takes.

Source: Microsoft Learn, "Authentication and authorization for online endpoints".
"""


def prepare(workspace: Workspace) -> None:
    """Create the storage account of the patients' records, in the workspace's resource group."""
    group = workspace.scope.workspace_id.split("/providers/")[0]
    workspace.arm.write(
        "PUT",
        f"{group}/providers/Microsoft.Storage/storageAccounts/{RECORDS}",
        "2023-05-01",
        body={"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}},
        deadline_s=60.0,
        progress=lambda _: None,
    )


def steps(folder: Path, size: Size) -> tuple[Step, ...]:
    """Return the commands: two of them, marked as not needed, show what the rules refuse."""
    canary: dict[str, Any] = {"canary": "green", **(QUICK if size is Size.SMALL else {})}
    other = {**canary, "stages": [50, 100]}
    return (
        RunStep(
            "deploy", "deploy", {"definition": str(folder / "green.yml"), "probes": str(folder / "access.jsonl")}
        ),
        RunStep("not validated", "canary", canary, Outcome.REFUSED, needed=False),
        RunStep("validate", "validate", {"deployment": "green"}),
        RunStep("not approved", "canary", canary, Outcome.WAITING),
        *(ApproveStep(f"approval {number}", "not approved", who) for number, who in enumerate(PEOPLE, start=1)),
        RunStep("another plan", "canary", other, Outcome.WAITING, needed=False),
        RunStep("canary", "canary", canary),
        RunStep("review", "review", {"fail_on": "high"}),
    )


def objectives(evidence: Evidence) -> Iterator[Objective]:
    """Compare what was measured with the limits of PineCare's story."""
    yield from _gates(evidence)
    yield from _identity(evidence)
    found = served(evidence)
    for name in ("blue", "green"):
        yield error_rate(name, found.get(name), 1)
        yield p95(name, found.get(name), P95_MS, evidence.size)
    if evidence.size is Size.SMALL:
        yield not_measured("slowdown above 50 % excluded at p50 and p90", "all proofs")
    else:
        yield all_of(
            "slowdown above 50 % excluded at p50 and p90",
            "proofs",
            proven_claims(evidence.runs["canary"], *LATENCY),
        )
    yield lost_requests(evidence)
    yield traced_requests(evidence)
    ours, by_hand = effort(evidence)
    yield at_most("typed in the release, against az alone", ours.commands, by_hand.commands, "commands")
    yield at_most("a person's time, against az alone", ours.minutes, by_hand.minutes, "minutes")
    yield sealed_runs(evidence)


def _gates(evidence: Evidence) -> Iterator[Objective]:
    """Compare staging, validation and approval with what the policy requires."""
    runs = evidence.runs
    staged = (runs["deploy"].record.traffic_after or {}).get("green", 0)
    yield at_most("traffic of the new version once deployed", float(staged), 0, "%")
    yield _ended("canary without validation", runs["not validated"].record, Outcome.REFUSED)
    validated = runs["validate"].record.results
    correct, cases = validated.get("correct", 0), validated.get("requests", 0)
    share = 100 * correct / cases if cases else None
    yield at_least("clinicians' cases answered as they do", share, CORRECT_PERCENT, "%", f"{correct} of {cases}")
    yield _ended("canary without approval", runs["not approved"].record, Outcome.WAITING)
    yield _ended("canary of another plan than the approved one", runs["another plan"].record, Outcome.WAITING)
    canary = runs["canary"].record
    bound = {one.who for one in canary.approvals if one.plan_sha256 == canary.plan_sha256 and one.keyid}
    yield all_of("approval signed for exactly the plan carried out", "people", (who in bound for who in PEOPLE))
    yield _unseen(evidence, canary.started_at)


def _ended(name: str, record: Any, expected: Outcome) -> Objective:
    limit = f"{expected}, exit code {expected.exit_code}, no traffic moved"
    moved = record.traffic_after is not None and record.traffic_after != record.traffic_before
    measured = f"{record.outcome}, exit code {record.exit_code}, {'traffic' if moved else 'no traffic'} moved"
    return Objective(name, limit, measured, limit == measured)


def _unseen(evidence: Evidence, approved_at: datetime) -> Objective:
    """Count the clients' requests that the new version answered before its approved run, by the request log."""
    endpoint = read_endpoint(evidence.workspace, evidence.endpoint)
    before = find_source(evidence.workspace, endpoint, "request log").observe(evidence.since, approved_at).total
    answered = before["green"].requests if "green" in before else 0
    basis = f"of {sum(one.requests for one in before.values()):,} in the request log"
    return at_most("production requests of the new version before approval", answered, 0, "requests", basis)


def _identity(evidence: Evidence) -> Iterator[Objective]:
    """Compare what the endpoint's identity holds, and what its code was refused, with what it needs."""
    workspace, endpoint = evidence.workspace, read_endpoint(evidence.workspace, evidence.endpoint)
    scope = f"/subscriptions/{workspace.scope.subscription_id}"
    principal = str((endpoint.arm.get("identity") or {}).get("principalId") or "")
    held = read_assignments_of(workspace, scope, principal, read_roles(workspace, endpoint.id))
    names = sorted(one.role.name for one in held)
    yield Objective(
        "roles of the endpoint's identity",
        ", ".join(sorted(ARTIFACT_ROLES)),
        ", ".join(names) or "none",
        set(names) == ARTIFACT_ROLES,
    )
    (reviewed,) = events(evidence.runs["review"].folder, JournalEvent.REVIEWED)
    against = [one for one in reviewed["findings"] if str(one["rule"]).startswith(("identity", "model-unapproved"))]
    yield at_most("findings on the identity or on unapproved models", float(len(against)), 0, "findings")
    yield all_of("read artifacts (200), refused patients' records (403)", "probes", _probes(evidence))


def _probes(evidence: Evidence) -> Sequence[bool]:
    """Return whether each probe of the deployment, which reads with its identity, was answered as expected."""
    found = events(evidence.runs["deploy"].folder, JournalEvent.PROBES)
    return [not one["problem"] for results in found for one in results]


def tables(evidence: Evidence) -> Iterable[Table]:
    """Return latency and errors by deployment, and the effort."""
    return (by_deployment(evidence), effort_table(evidence))


TRIAGE = Scenario(
    name="pinecare",
    title=TITLES["pinecare"],
    endpoint=ENDPOINT,
    rps={Size.FULL: 30, Size.SMALL: 15},
    write=write_repository,
    prepare=prepare,
    steps=steps,
    objectives=objectives,
    tables=tables,
)
