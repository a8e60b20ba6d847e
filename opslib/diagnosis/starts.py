"""Causes of deployments that did not start: from the operation's error to the line of the user's script."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opslib.diagnosis.catalogue import find_action
from opslib.diagnosis.cause import Cause, Certainty, Evidence
from opslib.diagnosis.facts import INITIALIZER, SERVER, DeploymentFacts, Facts
from opslib.diagnosis.layers import Layer, innermost, unwrap
from opslib.diagnosis.log import ContainerLog, Phase, UserError, read_log
from opslib.model.surroundings import Unread
from opslib.model.symptoms import LastOperation

FAILED = frozenset({"Failed", "Canceled"})
_SETTLED = FAILED | {"Succeeded"}
_DENIED = re.compile(
    r"unauthorized|denied|forbidden|403|Authorization|role assignment|not authorized", re.IGNORECASE
)
_IDENTITY = re.compile(r"identity (?P<principal>[0-9a-f-]{36})", re.IGNORECASE)
_SCOPE = re.compile(r"(?P<scope>/subscriptions/\S+/(?:registries|storageAccounts)/[\w-]+)", re.IGNORECASE)
_CRASHED = re.compile(r"crashed or terminated|Liveness probe failed|Readiness probe failed", re.IGNORECASE)
_KILLED = re.compile(r"out of memory|OOMKilled|MemoryError|code (?:-9|137)\b", re.IGNORECASE)


@dataclass(frozen=True)
class FailedStart:
    """A deployment that failed to start, its error in layers, its log, and all of it as one text."""

    layers: tuple[Layer, ...]
    log: ContainerLog
    log_read: bool = True

    @property
    def code(self) -> str:
        """The outermost code."""
        return next((one.code for one in self.layers if one.code), "")

    @property
    def text(self) -> str:
        """Every layer's message."""
        return "\n".join(one.message for one in self.layers)

    @property
    def start_error(self) -> UserError | None:
        """The newest exception of the user's code before it served."""
        return next((one for one in reversed(self.log.errors) if one.phase is not Phase.RUN), None)


@dataclass(frozen=True)
class Found:
    """Which cause a failed start has, how certain that is, and what is wrong."""

    id: str
    certainty: Certainty
    summary: str


def find_start_causes(facts: Facts) -> Iterator[Cause]:
    """Yield a cause for each deployment that failed, and for an endpoint that did."""
    for one in facts.deployments:
        state = one.deployment.provisioning_state
        if state in FAILED:
            yield _failed(facts, one)
        elif state not in _SETTLED:
            yield _in_progress(facts, f"deployment {one.name}", state)
    state = facts.endpoint.provisioning_state
    if state in FAILED:
        error = _error(facts.operation)
        layers = error or (Layer("provisioning state", state, ""),)
        found = _by_code(FailedStart(layers, read_log("")), state)
        yield _cause(facts, f"endpoint {facts.endpoint.name}", found, layers, (), "")
    elif state not in _SETTLED:
        yield _in_progress(facts, f"endpoint {facts.endpoint.name}", state)


def classify(start: FailedStart, state: str = "Failed") -> Found:
    """Return the cause of a failed start: the first rule that applies, from the innermost layer outwards."""
    for rule in (_download, _memory, _user_code, _late):
        if found := rule(start):
            return found
    return _by_code(start, state)


def _download(start: FailedStart) -> Found | None:
    """Image or model could not be downloaded: absent, or not readable for the endpoint's identity."""
    text = start.text
    image = start.log.failed_step == "UserContainerImagePull" or re.search(
        r"(download|pull) .*image", text, re.IGNORECASE
    )
    model = start.log.failed_step == "ModelDownload" or re.search(
        r"download user model|download model", text, re.IGNORECASE
    )
    if not image and not model:
        return None
    denied, what = _DENIED.search(text) is not None, innermost(start.layers).message
    if image:
        kind = "image-access" if denied else "image-missing"
        summary = "the endpoint's identity may not pull the image" if denied else "the image cannot be pulled"
    else:
        kind = "model-access" if denied else "operation-failed"
        summary = "the endpoint's identity may not read the model" if denied else "the model cannot be downloaded"
    return Found(kind, Certainty.CERTAIN if denied or image else Certainty.LIKELY, f"{summary}: {shorten(what)}")


def _memory(start: FailedStart) -> Found | None:
    line = start.log.line_with("sent SIGKILL", "out of memory")
    error = start.start_error
    if not line and not (error and error.type == "MemoryError"):
        return None
    return Found("out-of-memory", Certainty.LIKELY, "the container was killed for want of memory while it started")


def _user_code(start: FailedStart) -> Found | None:
    """The scoring script raised while it was imported or in init()."""
    error = start.start_error
    if error is None:
        return None
    kind = next((kind for types, kind in _ERROR_KINDS if error.type.rsplit(".", 1)[-1] in types), "script-init")
    if kind == "script-function" and "does not have" not in error.message:
        kind = "script-init"
    if "No module named 'main'" in error.message:
        kind = "script-missing"
    verb = {"script-function": "the scoring script is incomplete"}.get(
        kind, f"{error.where}, fails {error.phase.value}"
    )
    return Found(kind, Certainty.CERTAIN, f"{verb}: {error}")


def _late(start: FailedStart) -> Found | None:
    """The container ran, without an exception, and its probes failed."""
    if not (_CRASHED.search(start.text) or start.code == "ResourceNotReady"):
        return None
    probe = start.log.find("LivenessProbeFailed", "ReadinessProbeFailed", "StartupProbeFailed")
    initializing = start.log.line_with("Invoking user's init function")
    if probe or re.search(r"(Liveness|Readiness) probe failed", start.text, re.IGNORECASE):
        what = "init() had not ended" if initializing else "it did not answer"
        return Found("slow-start", Certainty.LIKELY, f"{what} when the probes gave the container up")
    log = "holds no exception" if start.log_read else "could not be read"
    return Found("start-unknown", Certainty.POSSIBLE, f"the container ended, and its log {log}")


def _by_code(start: FailedStart, state: str) -> Found:
    """Classify by Azure's code alone."""
    inner = shorten(innermost(start.layers).message)
    if start.code == "OutOfQuota":
        full = re.search(r"region|capacity", start.text, re.IGNORECASE)
        memory = re.search(r"memory", start.text, re.IGNORECASE)
        kind = "region-capacity" if full else "out-of-memory" if memory else "quota"
        return Found(kind, Certainty.CERTAIN, inner or "the quota does not suffice")
    if kind := _CODES.get(start.code, ""):
        return Found(kind, Certainty.LIKELY if kind in {"service", "canceled"} else Certainty.CERTAIN, inner)
    if state == "Canceled":
        return Found("canceled", Certainty.LIKELY, inner or "the operation was canceled")
    return Found("operation-failed", Certainty.POSSIBLE, inner or "the operation failed; Azure gives no reason")


_ERROR_KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"ModuleNotFoundError", "ImportError"}), "package-missing"),
    (frozenset({"SyntaxError", "IndentationError", "TabError"}), "script-syntax"),
    (frozenset({"FileNotFoundError", "NotADirectoryError", "IsADirectoryError"}), "file-missing"),
    (frozenset({"UserScriptError"}), "script-function"),
)
_CODES = {
    "ImageBuildFailure": "image-build",
    "SecretsInjectionError": "secrets",
    "WorkspaceManagedNetworkNotReady": "network-not-ready",
    "OperationCanceled": "canceled",
    "InternalServerError": "service",
    "Conflict": "conflict",
    "AuthorizationFailed": "caller-forbidden",
}


def _failed(facts: Facts, one: DeploymentFacts) -> Cause:
    log = read_log(one.log(SERVER))
    state = one.deployment.provisioning_state
    layers = _error(one.operation) or (Layer("provisioning state", state, ""),)
    event = log.find("LivenessProbeFailed", "ReadinessProbeFailed", "StartupProbeFailed") or next(
        (event for event in reversed(log.events) if event.type == "Warning"), None
    )
    start = FailedStart(
        (*layers, *((Layer("event", event.name, event.message),) if event else ())),
        log,
        log_read=isinstance(one.logs.get(SERVER), str),
    )
    found = classify(start, state)
    error = start.start_error
    inner = (
        (Layer("container log", error.type, f"{error.message} ({error.where}, {error.phase})"),) if error else ()
    )
    evidence = [
        Evidence(f"provisioningState {state}: {shorten(start.text)}", f"deployment {one.name}", _ended(one))
    ]
    if event:
        evidence.insert(0, Evidence(f"{event.name}: {shorten(event.message)}", f"event of {one.name}", event.time))
    if error:
        evidence.insert(0, Evidence(f"{error} ({error.where}, {error.phase})", f"log of {one.name}'s {SERVER}"))
    evidence += [
        Evidence(f"unread: {shorten(log_of.reason)}", f"log of {one.name}'s {name}")
        for name, log_of in one.logs.items()
        if isinstance(log_of, Unread)
    ]
    if found.id in {"model-access", "file-missing"} and (note := one.log(INITIALIZER).strip().splitlines()):
        evidence.append(Evidence(note[0], f"log of {one.name}'s {INITIALIZER}"))
    return _cause(facts, f"deployment {one.name}", found, (*start.layers, *inner), tuple(evidence), one.name)


def _cause(
    facts: Facts,
    subject: str,
    found: Found,
    layers: tuple[Layer, ...],
    evidence: tuple[Evidence, ...],
    deployment: str,
) -> Cause:
    text = "\n".join(one.message for one in layers)
    names = {"e": facts.endpoint.name, "d": deployment or "DEPLOYMENT", "w": facts.workspace_name}
    for pattern, name, missing in ((_IDENTITY, "principal", "IDENTITY"), (_SCOPE, "scope", "SCOPE")):
        match = pattern.search(text)
        names[name] = match[name] if match else missing
    action = find_action(found.id, **names)
    weight = 1.0 + facts.endpoint.traffic.get(deployment, 0)
    shown = evidence or (Evidence(shorten(text), subject),)
    return Cause(
        found.id, found.certainty, subject, found.summary, shown, action.command, action.advice, weight, layers
    )


def _in_progress(facts: Facts, subject: str, state: str) -> Cause:
    found = Found("in-progress", Certainty.POSSIBLE, f"an operation has not ended ({state})")
    return _cause(facts, subject, found, (Layer("provisioning state", state, ""),), (), "")


def _error(operation: LastOperation | Unread | None) -> tuple[Layer, ...]:
    if isinstance(operation, LastOperation) and operation.error:
        return unwrap(operation.error, "operation error")
    return ()


def _ended(one: DeploymentFacts) -> str:
    at = one.operation.ended_at if isinstance(one.operation, LastOperation) else None
    return at.isoformat(timespec="seconds") if at else ""


def shorten(text: str, most: int = 400) -> str:
    """Return a text on one line, cut at so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
