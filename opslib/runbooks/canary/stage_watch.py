"""One stage of a canary under watch: how long it continues, and how it ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opslib.azure.arm import Progress
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.judge import Bake, Policy, Verdict, after_hold, while_asked
from opslib.model import SetTraffic
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.operator_decision import DecisionRequest, OperatorDecision, command, take_answer
from opslib.runbooks.canary.rollout import NextStep, Stage
from opslib.runbooks.steps.observe import SourceReading


@dataclass(frozen=True)
class HoldPolicy:
    """What the endpoint's owner wants for an undecided stage.

    Attributes
    ----------
    on_hold
        What follows at `max_bake_s`.
    max_bake_s
        Longest bake before the policy applies [seconds].
    answer_s
        Longest wait for a person's decision, where the policy is "ask" [seconds].
    """

    on_hold: Policy
    max_bake_s: float
    answer_s: float


class StageWatch:
    """A stage from its first second to its end.

    Attributes
    ----------
    started_at
        When it began [UTC].
    bake_s
        Length of its bake at the next look that may end it [seconds].
    """

    def __init__(
        self,
        journal: Journal,
        progress: Progress,
        session: JudgeSession,
        policy: HoldPolicy,
        step: SetTraffic,
        *,
        room: bool,
    ) -> None:
        self.started_at = datetime.now(UTC)
        self.bake_s = step.bake_s
        self._journal = journal
        self._progress = progress
        self._session = session
        self._policy = policy
        self._step = step
        self._room = room
        self._request: DecisionRequest | None = None
        self._held: Verdict | None = None

    @property
    def end(self) -> datetime:
        """When the next look that may end the stage is due [UTC]."""
        return self.started_at + timedelta(seconds=self.bake_s)

    def unseen(self, seen: SourceReading) -> str:
        """Return why it is unknown what was served in the end of the stage; empty where it is known, or not over.

        A few seconds without requests are no sign that the source is late: half a bake is.
        """
        if not seen.waited_out:
            return ""
        source, shown_until = seen.observation.source, seen.observation.watermark
        if seen.problem:
            return f"the {source} could not be read when the bake was over, so that its end is unknown"
        if shown_until is None or self.end - shown_until > timedelta(seconds=self.bake_s / 2):
            return f"the {source} shows less than half of the bake, so that the rest is unknown"
        return ""

    def decide(self, verdict: Verdict, seen: SourceReading) -> Stage | None:
        """Return the stage as it ended; None where the watch continues."""
        if verdict.outcome == "hold":
            self._held = verdict
        if self._request is not None:
            return self._await_decision(self._request, verdict, seen)
        if verdict.outcome == "hold":
            return self._apply_policy(verdict, seen)
        return None if verdict.outcome == "continue" else self._ended(seen, verdict, verdict.outcome)

    def _apply_policy(self, verdict: Verdict, seen: SourceReading) -> Stage | None:
        bake = Bake(
            baked_s=self.bake_s,
            planned_s=self._step.bake_s,
            max_bake_s=max(self._policy.max_bake_s, self._step.bake_s),
            late=seen.waited_out,
            room=self._room,
        )
        follows = after_hold(verdict, self._policy.on_hold, bake)
        match follows.action:
            case "watch on":
                self.bake_s = follows.bake_s
                self._progress(f"bake extended to {follows.bake_s:g} s in all: {follows.reason}")
            case "ask":
                self._request_decision(follows.reason)
            case "smaller step":
                return self._ended(seen, verdict, "smaller step", why=follows.reason)
            case "give back":
                return self._ended(seen, verdict, "hold")
        return None

    def _request_decision(self, why: str) -> None:
        """Request a person's decision; the watch continues meanwhile, for `answer_s` and at least `max_bake_s`."""
        now = datetime.now(UTC)
        longest = self.started_at + timedelta(seconds=self._policy.max_bake_s)
        until = max(now + timedelta(seconds=self._policy.answer_s), longest)
        self._request = DecisionRequest(now.isoformat(timespec="milliseconds"), why, until)
        self._journal.write(JournalEvent.ASKED, self._request)
        self._progress(
            f"undecided: {why}. Waiting for an answer until {until:%H:%M:%S} UTC; traffic stays as it is. "
            f"To answer: {command(self._journal.path.parent, 'promote')}  (or rollback, or extend)"
        )
        self._plan_next_look(self._request)

    def _await_decision(self, request: DecisionRequest, verdict: Verdict, seen: SourceReading) -> Stage | None:
        """End the stage by what comes first, as `while_asked` orders it; else continue the watch."""
        over = ""
        if verdict.outcome in {"rollback", "promote"}:
            over = f"decided meanwhile: {verdict.outcome}"
        elif datetime.now(UTC) >= request.until:
            over = f"no answer by {request.until:%H:%M:%S} UTC"
        answer = take_answer(self._journal, request, over)
        if answer is not None:
            self._progress(f"{answer.who} answered {answer.choice}: {answer.reason}")
        follows = while_asked(verdict.outcome, answer.choice if answer else None, expired=bool(over))
        if follows == verdict.outcome and follows in {"rollback", "promote"}:
            why = f"{answer.who} answered {answer.choice}, but the judge had decided" if answer else ""
            return self._ended(seen, verdict, follows, why=why)
        if answer is not None:
            return self._apply_answer(answer, seen)
        if follows == "hold":
            return self._ended(seen, self._held or verdict, "hold", why=over)
        if verdict.outcome == "hold":
            self._plan_next_look(request)
        return None

    def _apply_answer(self, answer: OperatorDecision, seen: SourceReading) -> Stage | None:
        self._request = None
        if answer.choice == "extend":
            self.bake_s = self._elapsed_s() + self._step.bake_s
            return None
        done = "promoted" if answer.choice == "promote" else "rolled back"
        why = f"{done} by {answer.who} although undecided: {answer.reason}"
        assert self._held is not None
        return self._ended(seen, self._held, answer.choice, why=why, answer=answer)

    def _plan_next_look(self, request: DecisionRequest) -> None:
        """Plan the next look while an answer is awaited; the last look is kept for an extension by that answer."""
        if self._session.settings.criteria.looks - self._session.state.stage_looks > 1:
            self.bake_s = self._elapsed_s() + self._step.bake_s
        else:
            self.bake_s = (request.until - self.started_at).total_seconds()

    def _elapsed_s(self) -> float:
        return (datetime.now(UTC) - self.started_at).total_seconds()

    def _ended(
        self,
        seen: SourceReading,
        verdict: Verdict,
        next_step: NextStep,
        why: str = "",
        answer: OperatorDecision | None = None,
    ) -> Stage:
        bake_s = min(self.bake_s, self._elapsed_s())
        traffic, observed = self._step.after, seen.observation
        return Stage(
            traffic,
            self.started_at,
            bake_s,
            observed,
            verdict,
            next_step,
            why=why,
            answer=answer,
            mirror=self._step.mirrored,
        )
