"""What a person sees of a canary: its forecast, its verdict, its stages."""

from opslib.displayed import view
from opslib.judge import BakeForecast, Verdict
from opslib.model import Served
from opslib.model.text import e_value, k_of_n, percent
from opslib.runbooks.canary.rollout import MIRROR_LIMITS, Rollout, Stage
from opslib.show.numbers import minutes
from opslib.show.table import Cell, Table, Tone
from opslib.show.views import SERVED, served_cells


@view.register
def _forecast(forecast: BakeForecast) -> Table:
    rows = [(f.metric, f.change, minutes(f.detect_minutes), minutes(f.prove_minutes)) for f in forecast.forecasts]
    columns = ("metric", "change", "minutes to roll back such a change", "minutes to prove its absence")
    return Table("What the first stage can show", columns, rows, note=forecast.advice, right=columns[2:])


@view.register
def _verdict(verdict: Verdict) -> Table:
    rows = [
        (
            proof.claim,
            Cell("✓ shown", "good") if proof.proven else Cell("not shown", "warning"),
            f"{k_of_n(proof.canary_bad, proof.canary_n)} {proof.counted}",
            k_of_n(proof.stable_bad, proof.stable_n) if proof.stable_n else "",
            "none" if proof.upper is None else percent(proof.upper),
            percent(proof.bound),
        )
        for proof in verdict.proofs
    ]
    columns = ("claim", "proof", "canary", "stable", "upper bound", "limit")
    evidence = f"evidence of harm {e_value(verdict.log_evidence)}, limit {e_value(verdict.log_threshold)}"
    title = f"Verdict: {verdict.outcome}; {evidence}"
    return Table(title, columns, rows, note=f"{verdict.sentence} {verdict.basis}.", right=columns[2:])


@view.register
def _rollout(rollout: Rollout) -> Table:
    rows = []
    for stage in rollout.stages:
        for name in (rollout.stable, rollout.canary):
            served = stage.observation.of(name) or Served(0, 0)
            decision = _decision(stage) if name == rollout.canary else ""
            share = stage.share(name) if name == rollout.canary else f"{stage.traffic.get(name, 0)} %"
            rows.append((share, name, *served_cells(served), decision))
    columns = ("traffic", "deployment", *SERVED, "decision")
    basis = f" {rollout.stages[-1].verdict.basis}." if rollout.stages else ""
    title = f"Canary {rollout.canary}: {rollout.outcome}"
    limits = f" {MIRROR_LIMITS}." if any(stage.mirror for stage in rollout.stages) else ""
    note = rollout.reason + basis + ("" if limits.strip() in rollout.reason else limits)
    return Table(title, columns, rows, note=note, right=("traffic", *SERVED))


def _decision(stage: Stage) -> Cell:
    """What was decided of a stage, and by whom if not by the judge."""
    tone: Tone = "good" if stage.next_step == "promote" else "bad" if stage.next_step == "rollback" else "warning"
    return Cell(f"{stage.next_step} by {stage.answer.who}" if stage.answer else stage.next_step, tone)
