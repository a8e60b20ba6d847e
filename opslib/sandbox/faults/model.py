"""One declared fault: what fails, where, how often, and until when. Pure."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.core.settings import described

MAX_DURATION_S = 3600.0
MAX_ACTIVE_FAULTS = 100


class FaultKind(StrEnum):
    """What can fail; `EFFECTS` describes the effect on a client."""

    ARM_LATENCY = "arm-latency"
    ARM_THROTTLE = "arm-throttle"
    ARM_ERROR = "arm-error"
    ARM_RESET = "arm-reset"
    TOKEN_EXPIRY = "token-expiry"
    LRO_FAIL = "lro-fail"
    LRO_HANG = "lro-hang"
    BLOB_ERROR = "blob-error"
    MODEL_LATENCY = "model-latency"
    MODEL_ERROR = "model-error"
    SCORING_RESET = "scoring-reset"
    INSTANCE_DEAD = "instance-dead"
    INSTANCE_HANG = "instance-hang"
    INSTANCE_OOM = "instance-oom"
    IMAGE_PULL = "image-pull"
    METRIC_GAP = "metric-gap"
    METRIC_DELAY = "metric-delay"
    LOG_DELAY = "log-delay"


EFFECTS = {
    FaultKind.ARM_LATENCY: "ARM answers `delay_s` later",
    FaultKind.ARM_THROTTLE: "ARM answers 429 with Retry-After `retry_after_s`",
    FaultKind.ARM_ERROR: "ARM answers `status` (500) with `code` (InternalServerError)",
    FaultKind.ARM_RESET: "the connection of an ARM request is reset",
    FaultKind.TOKEN_EXPIRY: "ARM answers 401 ExpiredAuthenticationToken, scoring with a token 401",
    FaultKind.LRO_FAIL: "a long-running operation ends in Failed with `code` (InternalServerError)",
    FaultKind.LRO_HANG: "a long-running operation does nothing until the fault ends, then its work",
    FaultKind.BLOB_ERROR: "blob storage answers `status` (503) ServerBusy",
    FaultKind.MODEL_LATENCY: "the model answers `delay_s` later; a request over its timeout is answered 408",
    FaultKind.MODEL_ERROR: "the model answers `status` (500), the endpoint 424",
    FaultKind.SCORING_RESET: "the connection of a scoring request is reset",
    FaultKind.INSTANCE_DEAD: "`count` (1) instances are killed",
    FaultKind.INSTANCE_HANG: "`count` (1) instances stop answering; their processes stay",
    FaultKind.INSTANCE_OOM: "`count` (1) instances are killed for want of memory",
    FaultKind.IMAGE_PULL: "a deployment's image cannot be pulled: its creation or update fails",
    FaultKind.METRIC_GAP: "metrics of the minutes that the fault touches are lost",
    FaultKind.METRIC_DELAY: "metrics can be read `delay_s` later",
    FaultKind.LOG_DELAY: "rows of the endpoint's logs can be queried `delay_s` later",
}
_STATUS = {FaultKind.ARM_ERROR: 500, FaultKind.BLOB_ERROR: 503, FaultKind.MODEL_ERROR: 500}


@dataclass(frozen=True)
class Fault:
    """A fault as it is declared; `operation`, `endpoint` and `deployment` are globs, in any case."""

    kind: FaultKind
    name: str = described("", "name by which it is listed and cleared; none: the sandbox chooses one")
    operation: str = described(
        "*", "operations to hit, as in SUPPORT.md; of long-running ones OnlineDeployments_Creating and the like"
    )
    endpoint: str = described("*", "endpoints to hit; a request of no endpoint is hit by * alone")
    deployment: str = described("*", "deployments to hit")
    rate: float = described(1.0, "share of the matching requests that are hit, above 0 and at most 1")
    count: int = described(0, "most hits before it ends; 0: no such limit")
    after_s: float = described(0.0, "wait before it begins, at most 3600 [s]")
    seconds: float = described(60.0, "how long it lasts, at most 3600 [s]")
    delay_s: float = described(1.0, "delay, for kinds that delay [s]")
    retry_after_s: int = described(5, "Retry-After of arm-throttle [s]")
    status: int = described(0, "HTTP status, for kinds that answer one; 0: the kind's own")
    code: str = described("", "error code, for kinds that answer one; none: the kind's own")
    message: str = described("", "error message, for kinds that answer one; none: the sandbox's own")
    seed: int = described(0, "seed of the draws against the rate")

    @property
    def answer_status(self) -> int:
        """Return the HTTP status that it answers with."""
        return self.status or _STATUS.get(self.kind, 500)

    def aims_at(self, operation: str, endpoint: str, deployment: str) -> bool:
        """Return whether it hits this operation on these names."""
        pairs = ((operation, self.operation), (endpoint, self.endpoint), (deployment, self.deployment))
        return all(fnmatch.fnmatchcase(value.lower(), glob.lower()) for value, glob in pairs)


def read_fault(sent: Any) -> Fault:
    """Read a fault from JSON.

    Raises
    ------
    ArmError
        If a field is unknown, of another type, or out of its range.

    Examples
    --------
    >>> read_fault({"kind": "arm-throttle", "count": 2}).retry_after_s
    5
    """
    if not isinstance(sent, dict):
        raise ArmError.invalid_request(f"A fault is an object, got {type(sent).__name__}.")
    known = {field.name: field for field in fields(Fault)}
    if unknown := set(sent) - set(known):
        raise ArmError.bad_request(f"A fault has no {sorted(unknown)}: it has {', '.join(known)}.")
    if sent.get("kind") not in list(FaultKind):
        raise ArmError.bad_request(f"A fault's kind is one of {', '.join(FaultKind)}; got {sent.get('kind')!r}.")
    values = {name: _typed(name, value, known[name].default) for name, value in sent.items() if name != "kind"}
    fault = Fault(kind=FaultKind(sent["kind"]), **values)
    _check_ranges(fault)
    return fault


def read_scenario(sent: Mapping[str, Any]) -> list[Fault]:
    """Read `{"seed": 0, "faults": [...]}`, or one fault alone; each fault draws from a seed of its own."""
    if "faults" not in sent:
        return [read_fault(sent)]
    rows, seed = sent["faults"], sent.get("seed", 0)
    if not isinstance(rows, list) or not rows or set(sent) - {"seed", "faults"} or not isinstance(seed, int):
        raise ArmError.bad_request("A scenario is {seed: an integer, faults: a list of at least one fault}.")
    return [
        read_fault({"seed": seed + index, **row} if isinstance(row, dict) else row)
        for index, row in enumerate(rows)
    ]


def _typed(name: str, value: Any, default: Any) -> Any:
    wanted: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ArmError.bad_request(f"A fault's {name} must be {wanted[-1].__name__}, got {value!r}.")
    return value


def _check_ranges(fault: Fault) -> None:
    ranges = (
        ("rate", fault.rate, 1e-9, 1.0),
        ("count", fault.count, 0, 1_000_000),
        ("after_s", fault.after_s, 0.0, MAX_DURATION_S),
        ("seconds", fault.seconds, 0.001, MAX_DURATION_S),
        ("delay_s", fault.delay_s, 0.0, MAX_DURATION_S),
        ("retry_after_s", fault.retry_after_s, 0, int(MAX_DURATION_S)),
    )
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise ArmError.bad_request(f"A fault's {name} must be from {low:g} to {high:g}, got {value!r}.")
    if fault.status and not 300 <= fault.status <= 599:
        raise ArmError.bad_request(f"A fault's status must be from 300 to 599, got {fault.status}.")
    if "/" in fault.name:
        raise ArmError.bad_request(f"A fault's name must not contain '/', got {fault.name!r}.")
