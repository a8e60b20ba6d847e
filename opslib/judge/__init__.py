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

from opslib.judge.aa_test import Rehearsal, calibrated_alpha, rehearse
from opslib.judge.decide import judge, next_stage, wanted_thresholds_ms
from opslib.judge.harm.outcomes import mature
from opslib.judge.looks.explain import Series, series
from opslib.judge.looks.precedence import EXTRA_LOOKS, Bake, after_hold, while_asked
from opslib.judge.looks.probes import Probe, order, paired
from opslib.judge.looks.stops import probe_stop, traffic_stop
from opslib.judge.looks.watermark import Revision, ready, revisions
from opslib.judge.proof.planner import Forecast, Outlook, Plan, plan
from opslib.judge.values.criteria import Criteria, describe, read_criteria
from opslib.judge.values.interval import Arm, Interval, from_record, to_record
from opslib.judge.values.metrics import PUBLISHED, Answers, Failures, Latency, Mean, Outcome, Ranks, Slo, Together
from opslib.judge.values.state import State, begin, from_json, refer, require_same, to_json
from opslib.judge.values.verdict import PRECEDENCE, Decision, Line, MetricLine, Proof, Verdict

__all__ = [
    "EXTRA_LOOKS",
    "PRECEDENCE",
    "PUBLISHED",
    "Answers",
    "Arm",
    "Bake",
    "Criteria",
    "Decision",
    "Failures",
    "Forecast",
    "Interval",
    "Latency",
    "Line",
    "Mean",
    "MetricLine",
    "Outcome",
    "Outlook",
    "Plan",
    "Probe",
    "Proof",
    "Ranks",
    "Rehearsal",
    "Revision",
    "Series",
    "Slo",
    "State",
    "Together",
    "Verdict",
    "after_hold",
    "begin",
    "calibrated_alpha",
    "describe",
    "from_json",
    "from_record",
    "judge",
    "mature",
    "next_stage",
    "order",
    "paired",
    "plan",
    "probe_stop",
    "read_criteria",
    "ready",
    "refer",
    "rehearse",
    "require_same",
    "revisions",
    "series",
    "to_json",
    "to_record",
    "traffic_stop",
    "wanted_thresholds_ms",
    "while_asked",
]
