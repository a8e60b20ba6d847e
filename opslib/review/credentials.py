"""Rules about authentication: the endpoint's mode, the age of its keys, who fetched them, secrets in plain text."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from opslib.model.surroundings import Unread
from opslib.policy.security import Security
from opslib.redaction.redact import (
    MIN_LENGTH,
    find_patterns,
    has_password,
    is_plain,
    is_reference,
    is_secret_name,
)
from opslib.review.facts import Facts
from opslib.review.finding import ReviewFinding, Severity

LOG_DAYS = 90
"""How long Azure keeps the activity log [days]. Source: Microsoft Learn, "Azure Monitor activity log"."""

_INJECTED = ("${{", "keyvaultref:", "@Microsoft.KeyVault(")
"""Begin values that the service replaces by a secret when an instance starts."""


def check_mode(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """Keys do not name their caller and do not expire; tokens of Microsoft Entra ID do both."""
    del security
    endpoint, mode = facts.endpoint, facts.endpoint.auth_mode.lower()
    fix = (
        "Create an endpoint with auth_mode: aad_token and move its clients: the mode of an endpoint is fixed. "
        "Grant onlineEndpoints/score/action to those who invoke it."
    )
    if mode == "key":
        evidence = "authMode is Key: two keys that do not expire, shared by all clients; no caller is identified"
        yield ReviewFinding("auth-keys", Severity.MEDIUM, f"endpoint {endpoint.name}", evidence, fix)
    elif mode != "aadtoken":
        evidence = (
            f"authMode is {endpoint.auth_mode}: tokens of a day's life, which name the endpoint, not the caller"
        )
        yield ReviewFinding("auth-tokens", Severity.LOW, f"endpoint {endpoint.name}", evidence, fix)


def check_key_age(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """Keys are regenerated within the policy's time; the log does not name which of the two."""
    if facts.endpoint.auth_mode.lower() != "key" or isinstance(facts.key_events, Unread):
        return
    made = created_at(facts.endpoint.arm)
    changed = [one.at for one in facts.key_events if one.operation == "regenerateKeys" and one.succeeded]
    limit, newest = timedelta(days=security.max_key_age_days), max(changed, default=made)
    oldest_known = facts.at - timedelta(days=LOG_DAYS)
    unknown = newest is None or (not changed and newest < oldest_known)
    fix = "Regenerate one key, move the clients to it, then regenerate the other."
    if unknown:
        evidence = (
            f"no regenerateKeys in the {LOG_DAYS} days of the activity log; whether the keys were regenerated "
            "before cannot be known"
        )
    elif newest is not None and facts.at - newest > limit:
        evidence = f"the newest key is of {newest:%Y-%m-%d}, {(facts.at - newest).days} days old"
    elif len(changed) < 2 and made is not None and facts.at - made > limit:
        evidence = (
            f"one regenerateKeys in {LOG_DAYS} days, of {newest:%Y-%m-%d}: the other key is older. The activity "
            "log does not name the key"
        )
    else:
        return
    evidence += f"; limit {security.max_key_age_days:g} days"
    yield ReviewFinding("key-age", Severity.MEDIUM, f"endpoint {facts.endpoint.name}", evidence, fix)


def check_key_reads(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """Who fetched the keys, for a reviewer to recognize; their use afterwards is in no log by caller."""
    del security
    if isinstance(facts.key_events, Unread):
        return
    reads: dict[str, list[datetime]] = {}
    for event in facts.key_events:
        if event.operation == "listKeys" and event.succeeded:
            reads.setdefault(event.caller or "an unknown caller", []).append(event.at)
    if reads:
        shown = "; ".join(
            f"{caller} {len(times)} times, last {max(times):%Y-%m-%d %H:%M} UTC" for caller, times in reads.items()
        )
        yield ReviewFinding(
            "key-reads",
            Severity.INFO,
            f"endpoint {facts.endpoint.name}",
            f"keys were fetched by {shown}. What was done with them is not logged",
            "Regenerate the keys if a caller is not expected.",
        )


def check_plain_secrets(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """No secret is an environment variable, a tag or a property: every reader of the resource reads them."""
    del security
    for deployment in facts.endpoint.deployments:
        where = f"deployment {deployment.name}"
        yield from _in_variables(where, deployment.arm["properties"].get("environmentVariables") or {})
        yield from _in_tags(where, deployment.arm)
    yield from _in_tags(f"endpoint {facts.endpoint.name}", facts.endpoint.arm)


def find_secret(name: str, value: object) -> str:
    """Return why a value looks like a secret; "" where it does not, or is a reference to one.

    Examples
    --------
    >>> find_secret("DB_PASSWORD", "correct horse"), find_secret("DB_PASSWORD", "env:DB_PASSWORD")
    ('its name is that of a secret', '')
    >>> find_secret("MAX_TOKENS", "512"), find_secret("DATABASE_URL", "postgres://ann:hunter2@db/claims")
    ('', 'it holds a password')
    """
    text = str(value)
    if not text or is_reference(value) or text.startswith(_INJECTED):
        return ""
    patterns = find_patterns(text)
    if patterns:
        return f"it has the form of a {patterns[0]}"
    if has_password(text):
        return "it holds a password"
    setting = is_plain(text) and len(text) < MIN_LENGTH  # a long number may be a password
    return "its name is that of a secret" if is_secret_name(name) and not setting else ""


def created_at(arm: Mapping[str, Any]) -> datetime | None:
    """Return when a resource was created, None where Azure does not show it."""
    text = str((arm.get("systemData") or {}).get("createdAt") or "")
    return datetime.fromisoformat(text) if text else None


def _in_variables(where: str, variables: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    for name, value in variables.items():
        if why := find_secret(name, value):
            yield ReviewFinding(
                "secret-in-variable",
                Severity.HIGH,
                where,
                f"environment variable {name} holds a secret in plain text ({why}; its value is not shown here)",
                "Keep it in Key Vault or a workspace connection, let the code or secret injection read it with the "
                "endpoint's identity, and replace the secret: every reader of the deployment could read it.",
            )


def _in_tags(where: str, arm: Mapping[str, Any]) -> Iterator[ReviewFinding]:
    properties = arm["properties"]
    texts = {
        **{f"tag {name}": (name, value) for name, value in (arm.get("tags") or {}).items()},
        **{
            f"property {name}": (name, value)
            for name, value in (properties.get("properties") or {}).items()
            if not name.lower().startswith("azure")  # the service's own
        },
        "description": ("description", properties.get("description") or ""),
    }
    for shown, (name, value) in texts.items():
        if why := find_secret(name, value):
            yield ReviewFinding(
                "secret-in-tag",
                Severity.HIGH,
                where,
                f"{shown} holds a secret in plain text ({why}; its value is not shown here)",
                "Remove it, and replace the secret: tags are in cost reports, logs and every listing.",
            )
