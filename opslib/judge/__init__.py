"""Judge a canary: pure statistics, without clock, input, output or chance.

>>> from opslib.judge import Arm, Criteria, Failures, Interval, begin, judge
>>> criteria = Criteria(metrics=(Failures(),))
>>> state = begin(criteria, endpoint="fraud", stable="blue@1", canary="green@2")
>>> bad = [
...     Interval(start_s=60.0 * i, length_s=60.0, weight=10.0, stable=Arm(requests=540, failures=5),
...              canary=Arm(requests=60, failures=6))
...     for i in range(4)
... ]
>>> state, verdict = judge(state, bad, criteria)
>>> verdict.outcome
'rollback'
"""

from opslib.judge.aa_test import Rehearsal, rehearse
from opslib.judge.decide import judge, next_stage, wanted_thresholds_ms
from opslib.judge.harm.outcomes import settled_cohorts
from opslib.judge.looks.bounds import rate_bounds
from opslib.judge.looks.paired_probes import PairedProbe, pair_probes, probe_order
from opslib.judge.looks.plot_series import Series, series, thinned
from opslib.judge.looks.precedence import EXTRA_LOOKS, Bake, Policy, after_hold, while_asked
from opslib.judge.looks.stops import probe_stop, traffic_stop
from opslib.judge.looks.watermark import Revision, after_warm_up, revisions, settled_intervals
from opslib.judge.proof.power import BakeForecast, MetricForecast, PlannedStage, forecast_bake
from opslib.judge.proof.rate import Rate, estimate_rate
from opslib.judge.values.criteria import Criteria, describe, read_criteria
from opslib.judge.values.interval import Arm, Interval, from_record, to_record
from opslib.judge.values.metrics import (
    PUBLISHED,
    Answers,
    BusinessOutcome,
    Failures,
    Joint,
    Latency,
    Mean,
    Ranks,
    Slo,
)
from opslib.judge.values.state import State, begin, from_json, require_release, set_reference, to_json
from opslib.judge.values.verdict import PRECEDENCE, Decision, IntervalResult, MetricResult, Proof, Verdict

__all__ = [
    "EXTRA_LOOKS",
    "PRECEDENCE",
    "PUBLISHED",
    "Answers",
    "Arm",
    "Bake",
    "BakeForecast",
    "BusinessOutcome",
    "Criteria",
    "Decision",
    "Failures",
    "Interval",
    "IntervalResult",
    "Joint",
    "Latency",
    "Mean",
    "MetricForecast",
    "MetricResult",
    "PairedProbe",
    "PlannedStage",
    "Policy",
    "Proof",
    "Ranks",
    "Rate",
    "Rehearsal",
    "Revision",
    "Series",
    "Slo",
    "State",
    "Verdict",
    "after_hold",
    "after_warm_up",
    "begin",
    "describe",
    "estimate_rate",
    "forecast_bake",
    "from_json",
    "from_record",
    "judge",
    "next_stage",
    "pair_probes",
    "probe_order",
    "probe_stop",
    "rate_bounds",
    "read_criteria",
    "rehearse",
    "require_release",
    "revisions",
    "series",
    "set_reference",
    "settled_cohorts",
    "settled_intervals",
    "thinned",
    "to_json",
    "to_record",
    "traffic_stop",
    "wanted_thresholds_ms",
    "while_asked",
]
