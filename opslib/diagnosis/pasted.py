"""The cause of an error that a person pasted: what `az` printed, an SDK's traceback, ARM's JSON, a container's log.

Only the text is read. The rules are those of a diagnosis; beside them those of errors that never reach Azure.
"""

import re
from datetime import datetime

from opslib.diagnosis.catalogue import find_action
from opslib.diagnosis.cause import Cause, Certainty, Diagnosis, Evidence
from opslib.diagnosis.layers import Layer, innermost, unwrap
from opslib.diagnosis.log import Phase, read_log
from opslib.diagnosis.refusals import RULES
from opslib.diagnosis.starts import FailedStart, Found, classify, shorten
from opslib.review.finding import UnreadPart

_HEAD = re.compile(r"^\s*(?:ERROR: |error: |[\w.]+(?:Error|Exception): )+", re.MULTILINE)
_FRAME = re.compile(r'^\s*(?:Traceback \(most recent call last\):|File "[^"]+", line \d+.*|[~^]+|[|+]-.*)$')
_ENDPOINT = re.compile(r"onlineEndpoints/(?P<e>[\w-]+)(?:/deployments/(?P<d>[\w-]+))?", re.IGNORECASE)
_STATUS = re.compile(
    r"(?:HTTP(?:/[\d.]+| Error)?|status(?:[ _]code)?|Response|code)\W{0,3}(?P<a>[45]\d\d)\b|"
    r"\b(?P<b>[45]\d\d)\s*(?:Client Error|Server Error|Failed Dependency|Too Many Requests|Request Timeout)",
    re.IGNORECASE,
)

_BEFORE: tuple[tuple[str, Certainty, tuple[str, ...]], ...] = (
    (
        "sign-in",
        Certainty.CERTAIN,
        ("failed to retrieve a token", "az login", r"AADSTS\d+", "CredentialUnavailable", "found no credential"),
    ),
    ("certificate", Certainty.LIKELY, ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "SSLError")),
    (
        "network",
        Certainty.LIKELY,
        (
            *("getaddrinfo", "Name or service not known", "Failed to resolve", "Connection refused"),
            *("Failed to establish a new connection", "Max retries exceeded", "ConnectTimeout"),
        ),
    ),
)
"""Errors of this machine, before Azure has answered."""

_AFTER: tuple[tuple[str, Certainty, tuple[str, ...]], ...] = (
    ("package-missing", Certainty.LIKELY, ("ModuleNotFoundError", r"ImportError: ", "No module named ")),
    ("quota", Certainty.CERTAIN, ("OutOfQuota", "Not enough quota", "quota .*exceed")),
    ("script-missing", Certainty.CERTAIN, ("(open|find) .*scoring.?script", "scoring script .*not")),
    (
        "refused",
        Certainty.CERTAIN,
        (
            *("Validation(?:Error|Exception)", "validation error", "BadRequest", "UserError", "NotFound"),
            *("InvalidArgument", r"must be an? \w+", "must be strings", "not supported", r"at most \d"),
            *("not implemented", "ParameterError", "unknown field"),
        ),
    ),
)
"""Errors of a request, where no rule of a failed start or a refusal has found more."""

_BY_STATUS = {
    401: "credential",
    403: "credential",
    404: "wrong-deployment",
    408: "timeout",
    413: "payload",
    424: "user-code",
    429: "overload",
}
"""Causes of scoring answers. Source: Microsoft Learn, "Troubleshoot online endpoints", HTTP status codes."""


def diagnose_text(text: str, at: datetime) -> Diagnosis:
    """Find the cause of an error by its text alone.

    Parameters
    ----------
    text
        The error as it was printed or logged; its lines may be in any order and have colours.
    at
        Now [UTC].
    """
    layers = read_layers(text)
    found = _find(text, layers)
    if found is None:
        observed = tuple(map(str, layers))
        missing = UnreadPart("the error's cause", "no rule recognizes this text; pass the whole error, or ENDPOINT")
        return Diagnosis("", at, at, (), observed, (missing,))
    return Diagnosis("", at, at, (_cause(text, layers, found),), (), ())


def read_layers(text: str) -> tuple[Layer, ...]:
    """Return an error's layers, without an SDK's own frames and the names of its exceptions."""
    lines = [line for line in text.splitlines() if not _FRAME.match(line)]
    kept = _HEAD.sub("", "\n".join(lines)).strip()
    return tuple(one for one in unwrap(kept, "error") if one.message or one.code)


def _find(text: str, layers: tuple[Layer, ...]) -> Found | None:
    """Return the cause by the first rule that applies: this machine's, the script's, the start's, the request's."""
    shown = "\n".join((*map(str, layers), text))
    if early := _by_rules(_BEFORE, shown, layers):
        return early
    log = read_log(text)
    raised = next((one for one in reversed(log.errors) if one.phase is Phase.RUN and one.file), None)
    if raised is not None:
        return Found("user-code", Certainty.CERTAIN, f"run() raises {raised} ({raised.where})")
    found = None
    if layers:
        is_log = log.steps or any(one.file for one in log.errors)
        found = classify(FailedStart(layers, log if is_log else read_log("")))
        if found.id not in {"operation-failed", "start-unknown"}:
            return found
    if refused := next((kind for pattern, kind in RULES if pattern.search(shown)), ""):
        certainty = Certainty.LIKELY if refused in {"conflict", "service"} else Certainty.CERTAIN
        return Found(refused, certainty, _summary(layers))
    late = _by_rules(_AFTER, shown, layers) or _by_status(shown, layers)
    return late or (found if found and found.id == "start-unknown" else None)


def _by_rules(
    rules: tuple[tuple[str, Certainty, tuple[str, ...]], ...], text: str, layers: tuple[Layer, ...]
) -> Found | None:
    for kind, certainty, patterns in rules:
        if re.search("|".join(patterns), text, re.IGNORECASE):
            return Found(kind, certainty, _summary(layers))
    return None


def _by_status(text: str, layers: tuple[Layer, ...]) -> Found | None:
    """Classify by an HTTP status; which deployment and why, only the endpoint's own logs show."""
    match = _STATUS.search(text)
    if match is None:
        return None
    status = int(match["a"] or match["b"])
    kind = _BY_STATUS.get(status, "service-answers" if status >= 500 else "refused")
    return Found(kind, Certainty.POSSIBLE, f"answered {status}: {_summary(layers)}")


def _summary(layers: tuple[Layer, ...]) -> str:
    return shorten(innermost(layers).message) if layers else "an error without a message"


def _cause(text: str, layers: tuple[Layer, ...], found: Found) -> Cause:
    named = _ENDPOINT.search(text)
    names = {
        "caller": "CALLER",
        "principal": "IDENTITY",
        "scope": "SCOPE",
        "host": "HOST:443",
        "more": "N",
        "credential": "key, aml_token or aad_token",
        **{name: value for name, value in (named.groupdict() if named else {}).items() if value},
    }
    action = find_action(found.id, **names)
    subject = (
        f"deployment {named['d']}" if named and named["d"] else f"endpoint {named['e']}" if named else "the error"
    )
    evidence = Evidence(_summary(layers), "the text")
    return Cause(
        found.id, found.certainty, subject, found.summary, (evidence,), action.command, action.advice, 1.0, layers
    )
