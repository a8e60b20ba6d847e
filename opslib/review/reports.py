"""A review as text, as JSON, and as SARIF 2.1.0 (OASIS), which code-scanning services show."""

import json
from collections.abc import Mapping
from typing import Any

from opslib.review.finding import Review, ReviewFinding, Severity
from opslib.review.review import RULES

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note", Severity.INFO: "note"}
_SCORES = {Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "3.0", Severity.INFO: "0.0"}
"""``security-severity`` of GitHub's code scanning, from 0 to 10."""


def as_text(review: Review) -> str:
    """Return a paragraph per finding, and the counts at the end."""
    lines = []
    for one in review.findings:
        accepted = f", accepted {one.accepted}" if one.accepted else ""
        lines += [f"{one.severity}: {one.subject}: {one.evidence} [{one.rule}{accepted}]", f"    {one.fix}"]
    lines += [f"not read: {one.part}: {one.reason}" for one in review.unread]
    return "\n".join([*lines, review.sentence])


def as_json(review: Review) -> str:
    """Return an object with the findings, who may do what, and what was not read."""
    content = {
        "endpoint": review.endpoint,
        "open": dict(review.counts),
        "findings": [_finding(one) for one in review.findings],
        "access": [
            {
                "principal": one.assignment.principal,
                "principal_type": one.assignment.principal_type,
                "role": one.assignment.role.name,
                "scope": one.assignment.scope,
                "direct": one.direct,
                "capabilities": list(one.capabilities),
            }
            for one in review.access
        ],
        "unread": [{"part": one.part, "reason": one.reason} for one in review.unread],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_sarif(review: Review) -> str:
    """Return a SARIF log; a finding's place is the endpoint's ARM id, an accepted one is suppressed."""
    ids = list(RULES)
    driver = {
        "name": "opslib review",
        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()],
    }
    results = [_sarif_result(review, one, ids.index(one.rule)) for one in review.findings]
    notifications = [
        {"level": "warning", "message": {"text": f"not read: {one.part}: {one.reason}"}} for one in review.unread
    ]
    invocation = {"executionSuccessful": True, "toolExecutionNotifications": notifications}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _finding(one: ReviewFinding) -> Mapping[str, str]:
    fields = ("rule", "severity", "subject", "evidence", "fix", "accepted")
    return {field: str(getattr(one, field)) for field in fields}


def _sarif_result(review: Review, one: ReviewFinding, index: int) -> Mapping[str, Any]:
    place = {"name": one.subject, "fullyQualifiedName": f"{review.endpoint} {one.subject}", "kind": "resource"}
    suppressed = (
        {"suppressions": [{"kind": "external", "justification": f"accepted {one.accepted}"}]}
        if one.accepted
        else {}
    )
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": _LEVELS[one.severity],
        "message": {"text": f"{one.subject}: {one.evidence}. {one.fix}"},
        "locations": [{"logicalLocations": [place]}],
        "properties": {"severity": str(one.severity), "security-severity": _SCORES[one.severity]},
        **suppressed,
    }
