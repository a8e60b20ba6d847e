"""The stages of a canary, one after the other: move traffic, watch, judge, continue or end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep

from opslib.azure.arm import Progress
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.model import Endpoint, Plan, SetTraffic
from opslib.model.traffic import describe_traffic
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.probing import Probing
from opslib.runbooks.canary.rollout import MIRROR_LIMITS, Stage
from opslib.runbooks.canary.stage_watch import HoldPolicy, StageWatch
from opslib.runbooks.steps.observe import pause_s, read_source
from opslib.runbooks.steps.plan import insert_half_step
from opslib.runbooks.undo.traffic_lease import TrafficLease


@dataclass(frozen=True)
class Stages:
    """The stages of one plan, run while the lease is held.

    Attributes
    ----------
    plan
        What was planned.
    session
        Judges each stage.
    probes
        Own probes to both versions.
    lease
        Moves the traffic.
    policy
        What follows an undecided stage.
    late_data_s
        Longest wait for data after the end of a bake [seconds].
    journal, progress
        Of the run.
    read_endpoint
        Reads the endpoint and records its state.
    """

    plan: Plan
    session: JudgeSession
    probes: Probing
    lease: TrafficLease
    policy: HoldPolicy
    late_data_s: float
    journal: Journal
    progress: Progress
    read_endpoint: Callable[[], Endpoint]

    def run(self) -> Iterator[Stage]:
        """Run stage after stage until one does not lead on; each planned one may lead on by one smaller step."""
        canary = self.session.canary
        steps = [step for step in self.plan.steps if isinstance(step, SetTraffic)]
        planned = {step.after[canary] for step in steps if not step.mirrored}
        while steps:
            step = steps.pop(0)
            self.lease.move(step)
            smaller: tuple[SetTraffic, ...] = ()
            if step.after.get(canary) in planned:
                smaller = insert_half_step(self.plan.before.traffic, canary, step, steps)
            stage = self._bake(step, room=bool(smaller))
            yield stage
            if stage.next_step == "smaller step":
                self.journal.write(JournalEvent.SMALLER_STEP, {"why": stage.why, "steps": smaller})
                steps = list(smaller)
            elif stage.next_step != "promote":
                return

    def _bake(self, step: SetTraffic, *, room: bool) -> Stage:
        """Watch one stage until the judge, the hold policy or a person decides it."""
        session, source = self.session, self.session.source
        ours = (step.mirrored or step.after).get(session.canary, 0)
        theirs = step.after.get(session.stable, 0)
        weight = 100.0 * ours / (ours + theirs)  # of the two versions' traffic; other deployments may serve too
        self.read_endpoint()
        watch = StageWatch(self.journal, self.progress, session, self.policy, step, room=room)
        session.begin_stage(mirrored=bool(step.mirrored))
        self.probes.begin()  # not before the first traffic: the canary's first request starts the warm-up
        if step.mirrored:
            self.progress(f"mirror {describe_traffic(step.mirrored)} percent: no user is affected. {MIRROR_LIMITS}")
        self.progress(f"baking {describe_traffic(step.after)} for {step.bake_s:g} s, source: {source.name}")
        while True:
            self.lease.renew_if_due(step)
            session.refresh_reference()
            lag_s, thresholds_ms = session.settings.lag_s, session.thresholds_ms()
            since = session.read_from(watch.started_at)
            seen = read_source(source, since, watch.end, self.late_data_s, lag_s, thresholds_ms)
            if seen.problem:
                self.progress(f"could not read the {source.name}: {seen.problem}")
            rounds, unseen = self.probes.take(), watch.unseen(seen)
            verdict = session.judge(
                seen.observation, weight=weight, bake_over=seen.over, rounds=rounds, unseen=unseen
            )
            self.progress(verdict.sentence)
            stage = watch.decide(verdict, seen)
            if stage is not None:
                return stage
            sleep(min(pause_s(source, step.bake_s), self.lease.longest_pause_s))
