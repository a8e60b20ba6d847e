"""One stage of a canary under watch: how long it goes on, and how it ends where the judge does not decide."""

from datetime import UTC, datetime, timedelta

from opslib.evidence.run.journal import JournalEvent
from opslib.judge import Bake, Verdict, after_hold, while_asked
from opslib.model import SetTraffic
from opslib.parameters import CanaryParameters
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.operator_decision import DecisionRequest, OperatorDecision, command, take_answer
from opslib.runbooks.canary.rollout import NextStep, Stage
from opslib.runbooks.run import Run
from opslib.runbooks.steps.observe import SourceReading


class StageWatch:
    """A stage from its first second to its end.

    Attributes
    ----------
    started_at
        When it began [UTC].
    bake_s
        How long it will have been watched at the next look at its end [seconds].
    """

    def __init__(self, run: Run[CanaryParameters], session: JudgeSession, step: SetTraffic, *, room: bool) -> None:
        self.started_at = datetime.now(UTC)
        self.bake_s = step.bake_s
        self._run = run
        self._session = session
        self._step = step
        self._room = room
        self._question: DecisionRequest | None = None
        self._held: Verdict | None = None

    @property
    def end(self) -> datetime:
        """When the next look at its end is due [UTC]."""
        return self.started_at + timedelta(seconds=self.bake_s)

    def decide(self, verdict: Verdict, seen: SourceReading) -> Stage | None:
        """Say how the stage ends; None where it is watched on."""
        if verdict.outcome == "hold":
            self._held = verdict
        if self._question is not None:
            return self._listen(self._question, verdict, seen)
        if verdict.outcome == "hold":
            return self._follow_policy(verdict, seen)
        return None if verdict.outcome == "continue" else self._ended(seen, verdict, verdict.outcome)

    def _follow_policy(self, verdict: Verdict, seen: SourceReading) -> Stage | None:
        p = self._run.parameters
        bake = Bake(
            baked_s=self.bake_s,
            planned_s=self._step.bake_s,
            max_bake_s=max(p.max_bake_s, self._step.bake_s),
            late=seen.waited_out,
            room=self._room,
        )
        follows = after_hold(verdict, p.on_hold, bake)
        match follows.action:
            case "watch on":
                self.bake_s = follows.bake_s
                self._run.say(f"watching on, for {follows.bake_s:g} s in all: {follows.reason}")
            case "ask":
                self._ask(follows.reason)
            case "smaller step":
                return self._ended(seen, verdict, "smaller step", why=follows.reason)
            case "give back":
                return self._ended(seen, verdict, "hold")
        return None

    def _ask(self, why: str) -> None:
        """Ask a person, and watch on meanwhile: for `answer_s`, and as long as the stage may take anyway."""
        run, p, now = self._run, self._run.parameters, datetime.now(UTC)
        until = max(now + timedelta(seconds=p.answer_s), self.started_at + timedelta(seconds=p.max_bake_s))
        self._question = DecisionRequest(now.isoformat(timespec="milliseconds"), why, until)
        run.journal.write(JournalEvent.ASKED, self._question)
        run.say(
            f"undecided: {why}. The traffic stays until {until:%H:%M:%S} UTC for somebody to answer: "
            f"{command(run.folder, 'promote')}  (or rollback, or extend)"
        )
        self._look_later(self._question)

    def _listen(self, question: DecisionRequest, verdict: Verdict, seen: SourceReading) -> Stage | None:
        """Go on watching until a person or the judge decides, or nobody has answered in time: harm comes first."""
        run, over = self._run, ""
        if verdict.outcome in {"rollback", "promote"}:
            over = f"decided meanwhile: {verdict.outcome}"
        elif datetime.now(UTC) >= question.until:
            over = f"nobody answered by {question.until:%H:%M:%S} UTC"
        answer = take_answer(run.folder, run.journal, question, over)
        if answer is not None:
            run.say(f"{answer.who} answers {answer.choice}: {answer.reason}")
        follows = while_asked(verdict.outcome, answer.choice if answer else None, expired=bool(over))
        if follows == verdict.outcome and follows in {"rollback", "promote"}:
            why = f"{answer.who} had answered {answer.choice}; the judge decided meanwhile" if answer else ""
            return self._ended(seen, verdict, follows, why=why)
        if answer is not None:
            return self._follow(answer, seen)
        if follows == "hold":
            return self._ended(seen, self._held or verdict, "hold", why=over)
        if verdict.outcome == "hold":
            self._look_later(question)
        return None

    def _follow(self, answer: OperatorDecision, seen: SourceReading) -> Stage | None:
        """Do what a person says."""
        self._question = None
        if answer.choice == "extend":
            self.bake_s = self._elapsed_s() + self._step.bake_s
            return None
        done = "promoted" if answer.choice == "promote" else "rolled back"
        why = f"{done} by {answer.who} although undecided: {answer.reason}"
        assert self._held is not None
        return self._ended(seen, self._held, answer.choice, why=why, answer=answer)

    def _look_later(self, question: DecisionRequest) -> None:
        """Plan the next look while a person is asked; the last is kept for the extension that they may grant."""
        if self._session.criteria.looks - self._session.state.stage_looks > 1:
            self.bake_s = self._elapsed_s() + self._step.bake_s
        else:
            self.bake_s = (question.until - self.started_at).total_seconds()

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
        return Stage(
            self._step.after, self.started_at, bake_s, seen.observation, verdict, next_step, why=why, answer=answer
        )
