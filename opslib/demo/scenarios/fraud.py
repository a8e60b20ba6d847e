"""HarborShield: an insurer's fraud model is released by a canary, and the way back is rehearsed."""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from opslib.demo.claims import write_repository
from opslib.demo.scenarios.measures import (
    LATENCY,
    by_deployment,
    error_rate,
    lost_requests,
    model_versions,
    p95,
    promoted_stages,
    proven_claims,
    sealed_runs,
    served,
    stage_weights,
    versions_table,
)
from opslib.demo.scenarios.objective import Objective, all_of, at_least, at_most, not_measured
from opslib.demo.scenarios.quick import QUICK
from opslib.demo.scenarios.scenario import Evidence, RunStep, Scenario, Size, Step
from opslib.demo.scenarios.titles import TITLES
from opslib.show.table import Table

ENDPOINT = "claims"
P95_MS = 250.0
RECOVERY_S = 15 * 60.0

CONCURRENT = 100
"""Requests that an instance takes at once, enough for a busy machine not to answer 429 [count]."""


def write(folder: Path) -> None:
    """Write HarborShield's repository for endpoint claims, with the policy of its production."""
    write_repository(folder)
    for path in folder.glob("*.yml"):
        text = path.read_text().replace("name: fraud", f"name: {ENDPOINT}")
        text = text.replace("requests_per_instance: 20", f"requests_per_instance: {CONCURRENT}")
        path.write_text(re.sub(r"  path: models/v(\d)", r"  name: claims-fraud\n  version: \1\n\g<0>", text))
    shutil.copy(Path(__file__).parent / "harborshield" / "policy.yml", folder)


def steps(folder: Path, size: Size) -> tuple[Step, ...]:
    """Return the commands: the release in stages, the rehearsed rollback, and the return to the new version."""
    probes_v1, probes_v2 = str(folder / "probes-v1.jsonl"), str(folder / "probes-v2.jsonl")
    small = size is Size.SMALL
    quick = QUICK if small else {}
    released = (
        RunStep("deploy", "deploy", {"definition": str(folder / "green.yml"), "probes": probes_v2}),
        RunStep("canary", "canary", {"canary": "green", "probes": probes_v2, **quick}),
        RunStep("rollback", "rollback", {"probes": probes_v1}),
    )
    return released if small else (*released, RunStep("return", "rollback", {"to": "green", "probes": probes_v2}))


def objectives(evidence: Evidence) -> Iterator[Objective]:
    """Compare what was measured with the limits of HarborShield's story."""
    canary, found = evidence.runs["canary"], served(evidence)
    weights = stage_weights(canary.folder, "green")
    yield at_most("first stage", float(weights[0]) if weights else None, 10, "% of live traffic")
    yield at_least("stages judged before full traffic", promoted_stages(canary.folder), 2, "stages")
    for name in ("blue", "green"):
        yield error_rate(name, found.get(name), 1)
        yield p95(name, found.get(name), P95_MS, evidence.size)
    if evidence.size is Size.SMALL:
        yield not_measured("slowdown above 50 % excluded at p50 and p90", "all proofs")
    else:
        yield all_of("slowdown above 50 % excluded at p50 and p90", "proofs", proven_claims(canary, *LATENCY))
    yield _recovery(evidence)
    yield lost_requests(evidence)
    yield all_of("model versions before and after in the record", "runs", model_versions(evidence))
    yield sealed_runs(evidence)


def _recovery(evidence: Evidence) -> Objective:
    """Compare the rehearsed rollback's time to the first verified answer with fifteen minutes."""
    rollback = evidence.runs.get("rollback")
    recovery_s = rollback.record.results.get("recovery_s") if rollback else None
    basis = "from the start of the run to blue's first verified answer"
    return at_most("recovery by the rehearsed rollback", recovery_s, RECOVERY_S, "s", basis)


def tables(evidence: Evidence) -> Iterable[Table]:
    """Return latency and errors by deployment, and the model versions that each run names."""
    return (by_deployment(evidence), versions_table(evidence))


FRAUD = Scenario(
    name="harborshield",
    title=TITLES["harborshield"],
    endpoint=ENDPOINT,
    rps={Size.FULL: 30, Size.SMALL: 15},
    write=write,
    steps=steps,
    objectives=objectives,
    tables=tables,
)
