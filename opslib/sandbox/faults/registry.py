"""The faults that are declared now: their targets, hits and ends, all of it logged.

They are kept in the store: a sandbox that is killed and started again continues them, hits and draws included.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError, ProvisioningFailed
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us
from opslib.sandbox.faults.model import MAX_ACTIVE_FAULTS, Fault, FaultKind

logger = logging.getLogger("opslib.sandbox.faults.registry")
STRIKES = (FaultKind.INSTANCE_DEAD, FaultKind.INSTANCE_HANG, FaultKind.INSTANCE_OOM)  # one instance by default
_HITS_LOGGED = 100
_ENDED_KEPT = 200


class ConnectionDropped(Exception):  # noqa: N818 - what the client will see
    """The connection of this request is to be reset instead of answered."""


@dataclass
class Declared:
    """A fault, when it holds [s, monotonic; and microseconds since the epoch], and what it has hit [count]."""

    number: int
    fault: Fault
    begins_s: float
    begins_us: int
    ends_s: float
    draws: random.Random
    hits: int = 0
    drawn: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> str:
        """Return waiting, active, or ended."""
        now_s = time.monotonic()
        if now_s >= self.ends_s or (self.fault.count and self.hits >= self.fault.count):
            return "ended"
        return "active" if now_s >= self.begins_s else "waiting"

    @property
    def ends_us(self) -> int:
        """Return when it ends at the latest [microseconds since the epoch]."""
        return self.begins_us + round((self.ends_s - self.begins_s) * MICROSECONDS)

    def draw(self) -> bool:
        """Return whether this occasion is hit."""
        self.drawn += 1
        return self.draws.random() < self.fault.rate

    def kept(self) -> dict[str, Any]:
        """Return what another process needs to go on with it."""
        times = {"begins_us": self.begins_us, "ends_us": self.ends_us}
        return {"fault": asdict(self.fault), "hits": self.hits, "drawn": self.drawn, **times}

    def render(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        times = {"begins": iso(self.begins_us), "ends": iso(self.ends_us)}
        return {**asdict(self.fault), "state": self.state, "hits": self.hits, **times}


class Faults:
    """Declares, draws, ends.

    Parameters
    ----------
    unwritten
        Is set when there is something to save.
    """

    def __init__(self, store: Store, unwritten: asyncio.Event | None = None) -> None:
        self._store = store
        self._unwritten = unwritten or asyncio.Event()
        self._declared = [_restored(number, row) for number, row in store.faults()]
        self._number = max((one.number for one in self._declared), default=0)
        self._unsaved: set[int] = set()
        for one in self._declared:
            if one.state != "ended":
                logger.info("fault %s goes on after %d hits: %s", one.fault.name, one.hits, one.fault)

    def declare(self, fault: Fault) -> Declared:
        """Begin a fault; its name must be free."""
        if sum(one.state != "ended" for one in self._declared) >= MAX_ACTIVE_FAULTS:
            raise ArmError.bad_request(f"{MAX_ACTIVE_FAULTS} faults are declared, which is the limit: clear some.")
        self._number += 1
        count = fault.count or (1 if fault.kind in STRIKES else 0)
        fault = replace(fault, name=fault.name or f"{fault.kind}-{self._number}", count=count)
        if any(one.fault.name == fault.name and one.state != "ended" for one in self._declared):
            raise ArmError.conflict(f"A fault '{fault.name}' is declared: clear it first, or take another name.")
        begins_s = time.monotonic() + fault.after_s
        begins_us = now_us() + round(fault.after_s * MICROSECONDS)
        declared = Declared(self._number, fault, begins_s, begins_us, begins_s + fault.seconds, _draws(fault))
        for old in self._declared[: -_ENDED_KEPT - MAX_ACTIVE_FAULTS]:
            self._store.delete_fault(old.number)
        self._declared = [*self._declared[-_ENDED_KEPT - MAX_ACTIVE_FAULTS :], declared]
        self._store.put_fault(declared.number, declared.kept())
        logger.info("fault %s declared: %s", fault.name, fault)
        return declared

    def clear(self, name: str | None = None) -> list[Declared]:
        """End the fault of this name, or all; return those ended."""
        ended = [one for one in self._declared if one.state != "ended" and name in (None, one.fault.name)]
        for one in ended:
            one.ends_s = max(time.monotonic(), one.begins_s)
            one.begins_s = min(one.begins_s, one.ends_s)
            one.over.set()
            self._store.put_fault(one.number, one.kept())
            logger.info("fault %s cleared after %d hits", one.fault.name, one.hits)
        return ended

    def listed(self) -> list[Declared]:
        """Return every fault, the ended ones too."""
        return list(self._declared)

    def hit(self, kind: FaultKind, operation: str, endpoint: str, deployment: str = "") -> Declared | None:
        """Draw whether this occasion is hit, and by which fault; what is hit is counted and logged."""
        if not self._declared:
            return None
        for one in self._active(kind):
            if not one.fault.aims_at(operation, endpoint, deployment):
                continue
            self._unsaved.add(one.number)
            self._unwritten.set()
            if one.draw():
                one.hits += 1
                if one.fault.count:  # a bound that must hold also for the next process
                    self.save()
                if one.hits <= _HITS_LOGGED:
                    where = " ".join(filter(None, (operation, endpoint, deployment)))
                    logger.info("fault %s hits %s (%d)", one.fault.name, where, one.hits)
                return one
        return None

    def save(self) -> None:
        """Keep what has been drawn and hit since the last time."""
        for one in self._declared:
            if one.number in self._unsaved:
                self._store.put_fault(one.number, one.kept())
        self._unsaved.clear()

    async def disturb_arm(self, operation: str, endpoint: str, deployment: str) -> None:
        """Delay or refuse a request to ARM.

        Source of the 429: Microsoft Learn, "Understand how Azure Resource Manager throttles requests".
        """
        if late := self.hit(FaultKind.ARM_LATENCY, operation, endpoint, deployment):
            await _or_over(late, late.fault.delay_s)
        if self.hit(FaultKind.ARM_RESET, operation, endpoint, deployment):
            raise ConnectionDropped
        if self.hit(FaultKind.TOKEN_EXPIRY, operation, endpoint, deployment):
            raise ArmError.expired_token()
        if throttled := self.hit(FaultKind.ARM_THROTTLE, operation, endpoint, deployment):
            raise ArmError.throttled(throttled.fault.retry_after_s)
        if broken := self.hit(FaultKind.ARM_ERROR, operation, endpoint, deployment):
            fault = broken.fault
            raise ArmError(fault.answer_status, fault.code or "InternalServerError", _words(fault))

    async def disturb_operation(self, operation: str, endpoint: str, deployment: str) -> None:
        """Hold a long-running operation up, or end it."""
        if held := self.hit(FaultKind.LRO_HANG, operation, endpoint, deployment):
            await _or_over(held, held.ends_s - time.monotonic())
        if failed := self.hit(FaultKind.LRO_FAIL, operation, endpoint, deployment):
            fault = failed.fault
            raise ProvisioningFailed(fault.code or "InternalServerError", _words(fault))

    async def disturb_model(self, endpoint: str, deployment: str) -> int | None:
        """Delay a model's answer; return the status that it answers with instead of its own."""
        if slow := self.hit(FaultKind.MODEL_LATENCY, "Scoring_Score", endpoint, deployment):
            await _or_over(slow, slow.fault.delay_s)
        broken = self.hit(FaultKind.MODEL_ERROR, "Scoring_Score", endpoint, deployment)
        return None if broken is None else broken.fault.answer_status

    def metrics_delay_s(self, endpoint: str, deployment: str) -> float:
        """Return how much later than usual metrics can be read [s]."""
        found = self.hit(FaultKind.METRIC_DELAY, "Metrics_List", endpoint, deployment)
        return 0.0 if found is None else found.fault.delay_s

    def logs_delay_s(self, endpoint: str) -> float:
        """Return how much later than usual an endpoint's logs can be read [s]."""
        found = self.hit(FaultKind.LOG_DELAY, "Logs_Query", endpoint)
        return 0.0 if found is None else found.fault.delay_s

    def lost(self, endpoint: str, deployment: str, start_us: int, end_us: int) -> bool:
        """Return whether metrics between these times are lost, now and for ever."""
        return any(
            one.fault.kind is FaultKind.METRIC_GAP
            and one.fault.aims_at("Metrics_List", endpoint, deployment)
            and one.begins_us < end_us
            and start_us < min(one.ends_us, now_us())
            for one in self._declared
        )

    def _active(self, kind: FaultKind) -> Iterator[Declared]:
        return (one for one in self._declared if one.fault.kind is kind and one.state == "active")


def _draws(fault: Fault) -> random.Random:
    return random.Random(fault.seed)  # noqa: S311 - drawn again the same with the same seed


def _restored(number: int, row: dict[str, Any]) -> Declared:
    """Return a fault as another process left it."""
    fault = Fault(**{**row["fault"], "kind": FaultKind(row["fault"]["kind"])})
    now_s, present_us, draws = time.monotonic(), now_us(), _draws(fault)
    begins_s, ends_s = (now_s + (row[name] - present_us) / MICROSECONDS for name in ("begins_us", "ends_us"))
    for _ in range(row["drawn"]):
        draws.random()
    return Declared(number, fault, begins_s, row["begins_us"], ends_s, draws, row["hits"], row["drawn"])


async def _or_over(declared: Declared, seconds: float) -> None:
    """Wait, but not longer than the fault lasts."""
    try:
        async with asyncio.timeout(max(0.0, min(seconds, declared.ends_s - time.monotonic()))):
            await declared.over.wait()
    except TimeoutError:
        return


def _words(fault: Fault) -> str:
    return fault.message or f"The fault '{fault.name}' was declared to this sandbox."
