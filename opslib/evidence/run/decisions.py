"""The decision log (``decisions.jsonl``): each decision of a run with its numbers, taken from the journal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from opslib.evidence.run.files import DECISIONS, JOURNAL
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.record import write_atomically
from opslib.model.text import bounded_share, e_value, k_of_n, percent

Event = Mapping[str, Any]


def write_decisions(folder: Path) -> dict[str, Any]:
    """Write ``decisions.jsonl`` from the journal; return the record's fields that are derived from it.

    Parameters
    ----------
    folder
        The run's folder. Without a journal (the run was refused before it opened one) nothing is derived.
    """
    decided: list[str] = []
    few: list[Event] = []
    for event in readable_events(folder / JOURNAL):
        decided += (json.dumps(line, ensure_ascii=False) + "\n" for line in decisions(event))
        if event["event"] != JournalEvent.LOOK:  # of which a long canary has thousands
            few.append(event)
    write_atomically(folder / DECISIONS, "".join(decided))
    return {
        "gates": tuple(gate for event in few for gate in gates(event)),
        "correlation_ids": tuple(correlation_ids(few)),
        "notifications": tuple(event["data"] for event in few if event["event"] == JournalEvent.NOTIFIED),
    }


def readable_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal; none where it cannot be read."""
    with suppress(OSError):
        yield from read_journal(path)


def decisions(event: Event) -> Iterator[dict[str, Any]]:
    """Yield what an event decided, with the numbers it was decided on: enough to recompute it."""
    data, when = event["data"], {"seq": event["seq"], "at": event["at"]}
    match event["event"]:
        case JournalEvent.LOOK:
            verdict = data["verdict"]
            numbers = data if verdict["decision"] != "continue" else _without_intervals(data)
            yield when | numbers | {"decision": verdict["decision"], "reason": verdict["reason"]}
        case JournalEvent.PREFLIGHT:
            worst = "blocked" if any(f["level"] == "blocker" for f in data) else "clear"
            yield when | {"decision": worst, "findings": data}
        case JournalEvent.ASKED:
            yield when | {"decision": "ask", "reason": data["why"], "question": data}
        case JournalEvent.ANSWERED:
            yield when | {"decision": data["choice"], "reason": f"{data['who']}: {data['reason']}", "answer": data}
        case JournalEvent.UNANSWERED:
            yield when | {"decision": "unanswered", "reason": data["why"]}
        case JournalEvent.SMALLER_STEP:
            yield when | {"decision": "smaller step", "reason": data["why"], "steps": data["steps"]}
        case JournalEvent.STOPPED:
            yield when | {"decision": "stop", "reason": data["reason"], "rule": data["rule"]}
        case JournalEvent.FINISHED:
            yield when | {"decision": data["outcome"], "reason": data["reason"]}
        case JournalEvent.RAISED:
            yield when | {"decision": data["outcome"], "reason": f"{data['error']}: {data['message']}"}


def _without_intervals(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return a look that only continues without its intervals: the journal's line of its number holds them."""
    numbers = {name: value for name, value in look.items() if name not in {"intervals", "cohorts", "verdict"}}
    if isinstance(look.get("details"), Mapping):
        numbers["details"] = {name: value for name, value in look["details"].items() if name != "lines"}
    return numbers


def gates(event: Event) -> Iterator[dict[str, Any]]:
    """Yield the gates of an event: preflight findings, and the criteria that decided each stage."""
    if event["event"] == JournalEvent.PREFLIGHT:
        for finding in event["data"]:
            yield {"gate": finding["check"], "result": finding["level"], "evidence": finding["evidence"]}
    if event["event"] == JournalEvent.ROLLOUT:
        for stage in event["data"]["stages"]:
            for proof in stage["verdict"]["proofs"]:
                numbers = {k: proof[k] for k in ("canary_share", "stable_share", "bound", "canary_n", "p", "alpha")}
                result = "proven" if proof["p"] <= proof["alpha"] else "not proven"
                about = {**_at(stage), "result": result, "evidence": _measured(proof)}
                yield {"gate": proof["place"]} | about | numbers
            harmful = stage["verdict"]["outcome"] == "rollback"
            yield {
                "gate": "harm",
                **_at(stage),
                "result": "found" if harmful else "none found",
                "evidence": stage["verdict"]["sentence"] if harmful else _harm(stage["verdict"]),
            }
            if stage.get("answer"):
                yield {
                    "gate": "a person's answer",
                    **_at(stage),
                    "result": stage["answer"]["choice"],
                    "evidence": stage["why"],
                }


def _harm(verdict: Mapping[str, Any]) -> str:
    """Describe the evidence of harm of a stage that was not rolled back; other numbers have rows of their own."""
    return f"evidence of harm {e_value(verdict['log_evidence'])}, rolls back at {e_value(verdict['log_threshold'])}"


def _measured(proof: Mapping[str, Any]) -> str:
    """Describe what a proof measured and what it required; proofs of earlier versions lack the counts."""
    if "canary_bad" not in proof:
        canary, stable, limit = (percent(proof[name]) for name in ("canary_share", "stable_share", "bound"))
        return f"canary {canary} of {proof['canary_n']:,}, stable {stable}; limit {limit}"
    counts = proof["canary_bad"], proof["canary_n"]
    found = bounded_share(counts, proof["counted"], proof.get("upper"), proof["bound"])
    if proof.get("stable_n"):
        return f"{found}, {k_of_n(proof['stable_bad'], proof['stable_n'])} on stable"
    return f"{found}; equal versions would show {percent(proof['stable_share'])}"


def correlation_ids(events: Sequence[Event]) -> Iterator[str]:
    """Yield Azure's correlation ids of the changes that were made, in order."""
    for event in events:
        if event["event"] in {JournalEvent.APPLIED, JournalEvent.UNDONE} and isinstance(event["data"], Mapping):
            correlation_id = event["data"].get("correlation_id")
            if correlation_id:
                yield str(correlation_id)


def _at(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the live traffic of a stage, and the mirrored traffic where it has some."""
    return {"stage": stage["traffic"], **({"mirror": stage["mirror"]} if stage.get("mirror") else {})}
