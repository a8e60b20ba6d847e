"""Whether a version has passed its validation, by the policy: each rule fires, and does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from opslib.policy.policy import Validation
from opslib.policy.validations import ValidationRun, decide_validation

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
RULE = Validation(file="claims.jsonl", min_correct_rate=0.95, valid_h=24)
RUN = ValidationRun("r1", NOW - timedelta(hours=2), "version", "set", correct=98, requests=100)


def decide(*runs, rule=RULE):
    return decide_validation(rule, runs, "version", "set", NOW)


@pytest.mark.parametrize(
    ("runs", "passed", "evidence"),
    [
        ((RUN,), True, "98 of 100 answers correct in r1, 2.0 h ago"),
        ((), False, "no validation of this deployment in the archive"),
        ((replace(RUN, version_sha256="other"),), False, "98 of 100 answers correct in r1, but of another version"),
        ((replace(RUN, version_sha256="other"), replace(RUN, run_id="r0")), True, "in r0"),
        ((replace(RUN, validation_sha256="x"),), False, "with another validation set than claims.jsonl is now"),
        ((replace(RUN, correct=95),), True, "95 of 100"),
        ((replace(RUN, correct=94),), False, "94 of 100 answers correct in r1, 2.0 h ago, limit 95 %"),
        ((replace(RUN, correct=0, requests=0),), False, "0 of 0"),
        ((replace(RUN, finished_at=NOW - timedelta(hours=24)),), True, "24.0 h ago"),
        ((replace(RUN, finished_at=NOW - timedelta(hours=25)),), False, "25.0 h ago, valid for 24 h"),
        ((replace(RUN, problem="tampered: run.json"),), False, "but it proves nothing: tampered: run.json"),
        ((replace(RUN, run_id="r2", correct=9), RUN), False, "9 of 100 answers correct in r2"),
    ],
)
def test_the_newest_run_of_exactly_this_version_decides(runs, passed, evidence):
    """With the run and k of n; an older success does not outweigh a newer failure."""
    decision = decide(*runs)
    assert decision.passed is passed
    assert evidence in decision.evidence
