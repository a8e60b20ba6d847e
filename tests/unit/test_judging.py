"""A session over recorded minutes: what is judged once stays, a blind stage never promotes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from runbook_world import journal

from opslib.azure.request_log import Exposure, RequestLog
from opslib.errors import DefinitionError, ParameterError
from opslib.evidence.run.journal import Journal
from opslib.evidence.run.record import write_record
from opslib.judge import begin, thinned
from opslib.model import Observation, ProbeResult, Served, ServedInterval, SetTraffic
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.cohorts import Cohorts, read_request_outcome
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.judge_settings import judge_settings
from opslib.runbooks.canary.rejudge import _agrees, judge_again
from opslib.runbooks.canary.rollout import Stage
from opslib.runbooks.canary.source_intervals import without_probes
from opslib.runbooks.canary.stage_watch import HoldPolicy, StageWatch
from opslib.runbooks.new_record import new_record
from opslib.runbooks.steps.observe import SourceReading

SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)
PARAMETERS = CanaryParameters.check(
    {
        "endpoint": "fraud",
        "canary": "green",
        "settle_s": 0,
        "warm_up_s": 0,
        "bake_s": 600,
        "max_failure_rate": 0.1,
        "latency_mode": "observe",
    }
)
NO_WORKSPACE: Any = None
"""Nothing here reads an endpoint."""

SERVED = Served(3000, 3, 10.0, 12.0, 15.0, 20.0)


@pytest.fixture
def session(tmp_path: Path) -> JudgeSession:
    session = open_session(tmp_path, PARAMETERS, RequestLog(NO_WORKSPACE, "/fraud", 60.0))
    session.begin_stage()
    return session


def open_session(folder: Path, parameters: CanaryParameters, source: RequestLog, **reference: Any) -> JudgeSession:
    settings = judge_settings(parameters, source)
    state = begin(settings.criteria, endpoint="fraud", stable="blue@1", canary="green@2", **reference)
    return JudgeSession(Journal(folder), print, source, settings, state, "blue", "green")


def minutes(count: int, first: int = 0, canary: Served = SERVED) -> Observation:
    grains = tuple(
        ServedInterval(SINCE + timedelta(minutes=first + n), 60.0, {"blue": SERVED, "green": canary})
        for n in range(count)
    )
    until = SINCE + timedelta(minutes=first + count)
    return Observation("request log", SINCE, until, watermark=until, total={}, intervals=grains)


def test_a_minute_that_reads_otherwise_later_is_recorded_once_and_not_judged_again(session: JudgeSession):
    """Late rows change no verdict, and an auditor sees that they came."""
    session.judge(minutes(3), weight=50.0, bake_over=False)
    before = session.state
    grown = minutes(3, canary=replace(SERVED, requests=3100, failures=90))
    for _ in range(2):
        session.judge(grown, weight=50.0, bake_over=False)
    assert session.state == before
    (changed,) = journal(session.journal.path.parent, "revised")
    assert len(changed) == 3
    assert changed[0]["judged"]["canary"]["requests"] == 3000
    assert changed[0]["now"]["canary"]["requests"] == 3100


def test_thresholds_asked_for_later_are_no_revision(session: JudgeSession):
    """The same requests counted at more latencies are the same requests."""
    session.judge(minutes(3), weight=50.0, bake_over=False)
    counted = replace(SERVED, above=((10.0, 1500), (1000.0, 0)))
    session.judge(minutes(3, canary=counted), weight=50.0, bake_over=False)
    assert not journal(session.journal.path.parent, "revised")


def test_a_later_stage_that_saw_nothing_holds_whatever_was_proved_before(session: JudgeSession):
    """The first stage proves the canary; the second has no requests: its end is a hold."""
    first = session.judge(minutes(10), weight=50.0, bake_over=True)
    assert first.outcome == "promote", first.sentence
    session.begin_stage()
    verdict = session.judge(minutes(0, first=10), weight=50.0, bake_over=True)
    assert verdict.outcome == "hold"
    assert "no canary request was seen in this stage" in verdict.sentence


@pytest.mark.parametrize(
    ("problem", "shown_s", "outcome"),
    [("", 600, "promote"), ("", 590, "promote"), ("Azure does not respond", 600, "hold"), ("", 120, "hold")],
)
def test_a_stage_whose_end_could_not_be_seen_holds_whatever_was_proved_before(
    tmp_path: Path, problem: str, shown_s: int, outcome: str
):
    """The source fails in the last stage, after two of its minutes: nobody knows what the canary served since."""
    write_record(tmp_path, new_record(PARAMETERS, tmp_path))
    session = open_session(tmp_path, PARAMETERS, RequestLog(NO_WORKSPACE, "/fraud", 60.0))
    session.write_state()
    session.begin_stage()
    step = SetTraffic("fraud", {"blue": 100}, {"blue": 50, "green": 50}, bake_s=600)
    assert session.judge(minutes(10), weight=50.0, bake_over=True).outcome == "promote"
    session.begin_stage()
    watch = StageWatch(session.journal, print, session, HoldPolicy("rollback", 600.0, 60.0), step, room=False)
    watch.started_at = SINCE + timedelta(minutes=10)
    assert session.judge(minutes(2, first=10), weight=50.0, bake_over=False).outcome == "continue"
    shown = None if problem else watch.started_at + timedelta(seconds=shown_s)
    observation = Observation("request log", watch.started_at, watch.end, watermark=shown, total={})
    seen = SourceReading(observation, over=True, waited_out=shown != watch.end, problem=problem)
    verdict = session.judge(observation, weight=50.0, bake_over=True, unseen=watch.unseen(seen))
    assert verdict.outcome == outcome, verdict.sentence
    ended = watch.decide(verdict, seen)
    assert ended is not None
    assert ended.next_step == outcome, ended.why
    assert ("unknown" in verdict.sentence) == (outcome == "hold")
    assert all(look.same and look.now == look.then for look in judge_again(tmp_path))


class Answered(RequestLog):
    """A log that shows who answered: request N in the Nth minute."""

    def answered_by(self, client_request_ids, since):
        del since
        return {
            one: Exposure("green", SINCE + timedelta(minutes=int(one), seconds=1)) for one in client_request_ids
        }


def test_outcomes_of_the_warm_up_are_not_judged(tmp_path: Path):
    """What a cold instance answered counts neither as a request nor by what became of it."""
    told = tmp_path / "outcomes.jsonl"
    told.write_text("")
    given = {"outcomes": str(told), "bad_outcomes": ["churn"], "warm_up_s": 120.0}
    parameters = CanaryParameters.check({**PARAMETERS.model_dump(), **given})
    session = open_session(tmp_path, parameters, Answered(NO_WORKSPACE, "/fraud", 60.0))
    session.cohorts = Cohorts(told, session.source, SINCE, 0.0)
    session.begin_stage()
    told.write_text("".join(f'{{"request_id": "{n}", "outcome": "churn", "bad": true}}\n' for n in range(5)))
    for count in (1, 5):
        session.judge(minutes(count), weight=50.0, bake_over=False)
    judged = [cohort for look in journal(tmp_path, "look") for cohort in look["cohorts"]]
    assert [cohort["start_s"] - SINCE.timestamp() for cohort in judged] == [120.0, 180.0, 240.0]
    assert [cohort["canary"]["outcomes"] for cohort in judged] == [[["churn", 1, 1]]] * 3


class Drifting(RequestLog):
    """A log in which stable was ten times slower until the canary came."""

    def quantiles_ms(self, deployment, since, until, quantiles):
        assert (deployment, since, until) == ("blue", SINCE, SINCE + timedelta(minutes=2))
        return tuple(10.0 * (1 + q) for q in quantiles)


def test_latency_is_cut_where_stable_is_now(tmp_path: Path):
    """The reference is taken again from the warm-up, which is not judged; the record gives the same verdicts."""
    parameters = PARAMETERS.model_copy(update={"warm_up_s": 120.0, "latency_mode": "act"})
    write_record(tmp_path, new_record(parameters, tmp_path))
    stale = tuple(100.0 * (1 + n) for n in range(6))
    session = open_session(tmp_path, parameters, Drifting(NO_WORKSPACE, "/fraud", 60.0), reference_ms=stale)
    session.write_state()
    session.begin_stage()
    for count in range(1, 8):
        session.refresh_reference()
        session.judge(minutes(count), weight=50.0, bake_over=count == 7)
    assert session.state.reference_ms[1] == 15.0
    assert session.state.judged == 5
    looks = list(judge_again(tmp_path))
    assert len(looks) == 7
    assert all(look.same for look in looks)


def test_verdict_of_an_earlier_version_is_compared_in_what_it_recorded():
    """New numbers, other words and rounding do not matter; a changed, missing or added entry does."""
    then = {"outcome": "hold", "sentence": "old words", "proofs": [{"p": 0.2, "place": "x"}]}
    now: dict[str, Any] = {"outcome": "hold", "sentence": "new", "proofs": [{"p": 0.2, "place": "y", "upper": 0.1}]}
    assert _agrees(now, then)
    assert not _agrees({**now, "outcome": "promote"}, then)
    assert _agrees({**now, "proofs": [{"p": 0.2 + 1e-15}]}, then)
    assert not _agrees({**now, "proofs": [{"p": 0.2 + 1e-6}]}, then)
    assert not _agrees({**now, "proofs": [{"p": 0.3}]}, then)
    assert not _agrees({**now, "proofs": [{}]}, then)
    assert not _agrees({**now, "proofs": now["proofs"] * 2}, then)


def test_own_probes_are_taken_out_of_minutes_that_count_everybody(session: JudgeSession):
    """Requests and failures of a probe leave its own minute and its own deployment, and none below zero."""
    (grain,) = minutes(1, canary=Served(2, 1)).intervals
    failed = ProbeResult(SINCE + timedelta(seconds=5), 424, 3.0, "green", "opslib-1", "status 424")
    fine = replace(failed, status=200, problem="", sent_at=SINCE + timedelta(seconds=61))
    seen = without_probes(grain, [failed, fine])
    assert (seen.served["green"].requests, seen.served["green"].failures) == (1, 0)
    assert seen.served["blue"] == SERVED
    assert without_probes(grain, [failed] * 5).served["green"] == Served(0, 0)
    other = replace(grain, served={name.capitalize(): one for name, one in grain.served.items()})
    assert without_probes(other, [failed, fine]).served["Green"] == seen.served["green"]  # names ignore case


@pytest.mark.parametrize(
    "line",
    [
        '{"request_id": "a", "outcome": "bad", "bad": 1}',
        '{"request_id": "a\\" or 1==1", "outcome": "bad", "bad": true}',
        '{"outcome": "bad", "bad": true}',
        '{"request_id": "a", "measure": "value", "value": "5"}',
        '{"request_id": "a", "measure": "value", "value": true}',
        "[]",
        "nonsense",
    ],
)
def test_what_is_no_outcome_is_refused(line: str):
    """A line that would be counted wrongly, or could end a query's string, is reported and left out."""
    with pytest.raises(DefinitionError, match=r"expected|Expecting"):
        read_request_outcome(line)


@pytest.mark.parametrize(
    "given",
    [
        {"outcomes": "o.jsonl"},
        {"bad_outcomes": ["chargeback"]},
        {"outcomes": "o.jsonl", "bad_outcomes": ["value"], "measures": {"value": 0.1}},
        {"outcomes": "o.jsonl", "bad_outcomes": ["p95 limit"]},
    ],
)
def test_outcomes_and_their_names_belong_together(given: dict[str, object]):
    """A misspelt half of the parameters must not silently judge nothing."""
    with pytest.raises(ParameterError, match="outcome"):
        CanaryParameters.check({"endpoint": "fraud", "canary": "green", **given})


def test_a_look_reads_the_last_minutes_again_however_long_the_stage_lasts(session: JudgeSession):
    """The first look reads the whole stage; later ones 15 minutes before what was judged last."""
    assert session.read_from(SINCE) == SINCE
    session.judge(minutes(120), weight=50.0, bake_over=False)
    assert session.read_from(SINCE) == SINCE + timedelta(minutes=119 - 15)
    late = minutes(16, first=104, canary=replace(SERVED, failures=9))
    session.judge(late, weight=50.0, bake_over=False)
    assert session.judged.revised == 16
    session.begin_stage()
    assert session.read_from(SINCE) == SINCE


class Long(RequestLog):
    """A log that returns what was read, in the grain that it was read in."""

    def observe(self, since, until, thresholds_ms=()):
        del thresholds_ms
        count = int((until - since).total_seconds() / self.grain_s)
        starts = [since + timedelta(seconds=self.grain_s * n) for n in range(count)]
        return Observation(
            self.name, since, until, until, {}, tuple(ServedInterval(s, self.grain_s, {}) for s in starts)
        )


def test_a_long_stage_is_recorded_whole_and_in_few_intervals(tmp_path: Path):
    """A look at its end has only the last minutes; the record and the plot show all of it."""
    session = open_session(tmp_path, PARAMETERS, Long(NO_WORKSPACE, "/fraud", 2.0))
    until = SINCE + timedelta(hours=6)
    last = Observation("request log", until - timedelta(minutes=15), until, until, {})
    verdict = session.judge(minutes(1), weight=50.0, bake_over=False)
    whole = session.read_whole(Stage({}, SINCE, 21600.0, last, verdict, "promote"))
    assert (whole.observation.since, whole.observation.until) == (SINCE, until)
    assert len(whole.observation.intervals) == 490
    short = Stage({}, SINCE, 60.0, replace(last, since=SINCE), verdict, "promote")
    assert session.read_whole(short) is short


def test_memory_of_a_watch_is_bounded(session: JudgeSession):
    """Neighbouring lines of the plot are joined; their counts and the last evidence stay."""
    verdict = session.judge(minutes(60), weight=50.0, bake_over=False)
    probes = tuple(replace(line, source="probes") for line in verdict.lines[::2])
    lines = (*verdict.lines[:30], *probes, *(replace(line, weight=80.0) for line in verdict.lines[30:]))
    joined = thinned(lines, most=50)
    assert thinned(lines, most=len(lines)) == lines
    assert len(joined) == len(lines) // 2
    assert [line.weight for line in joined if line.source != "probes"] == [50.0] * 15 + [80.0] * 15
    for arm in ("canary_n", "stable_bad"):
        assert sum(getattr(line.metrics[0], arm) for line in joined) == sum(
            getattr(line.metrics[0], arm) for line in lines
        )
    assert joined[-1].log_evidence == lines[-1].log_evidence
