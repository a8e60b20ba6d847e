"""The security review: every rule fires and does not fire on what the sandbox returned; a run leaves evidence."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from runbook_world import World, journal

from opslib.access.assignments import Assignment, Role
from opslib.access.grants import Permission
from opslib.cli.main import main
from opslib.evidence.run.files import SEAL
from opslib.model import Endpoint, Outcome
from opslib.model.surroundings import Asset, KeyEvent, Unread, WorkspaceSettings
from opslib.policy.exceptions import Exceptions
from opslib.policy.security import RuleException, Security
from opslib.review.credentials import find_secret
from opslib.review.facts import Facts
from opslib.review.finding import Review, Severity
from opslib.review.reports import as_json, as_sarif, as_text
from opslib.review.review import RULES, review
from opslib.runbooks.review import conclude_review, read_facts

NOW = datetime.now(UTC)
WRITER = Role("Writer", (Permission(("*",), ("Microsoft.Authorization/*/write",)),))
READER = Role("Reader", (Permission(("*/read",)),))
KEY_READER = Role("Key reader", (Permission(("*/listKeys/action",)),))
PASSWORD = "hunter2-hunter2"
REFERENCE = "env:DB_PASSWORD"
Edit = Callable[[Facts], Facts]


@pytest.fixture
def facts(world: World) -> Facts:
    """What the sandbox returns of an endpoint made with the defaults."""
    return read_facts(world.workspace, world.read(), NOW)


def judge(facts: Facts, security: Security | None = None, *exceptions: RuleException) -> Review:
    return review(facts, security or Security(), Exceptions(exceptions, NOW))


def rules(facts: Facts, security: Security | None = None) -> set[str]:
    return {one.rule for one in judge(facts, security).findings}


def with_arm(edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> Edit:
    """Edit a copy of the endpoint's and its first deployment's JSON."""

    def apply(facts: Facts) -> Facts:
        endpoint = facts.endpoint
        own, first = copy.deepcopy(dict(endpoint.arm)), copy.deepcopy(dict(endpoint.deployments[0].arm))
        edit(own, first)
        deployments = (replace(endpoint.deployments[0], arm=first),)
        mode = own["properties"]["authMode"]
        return replace(facts, endpoint=replace(endpoint, arm=own, deployments=deployments, auth_mode=mode))

    return apply


def mode(name: str) -> Edit:
    return with_arm(lambda own, _: own["properties"].update(authMode=name))


def made(days: int) -> Edit:
    then = (NOW - timedelta(days=days)).isoformat()
    return with_arm(lambda own, _: own["systemData"].update(createdAt=then))


def variables(**values: str) -> Edit:
    return with_arm(lambda _, first: first["properties"].update(environmentVariables=values))


def settings(**changes: str) -> Edit:
    def apply(facts: Facts) -> Facts:
        assert isinstance(facts.workspace, WorkspaceSettings)
        return replace(facts, workspace=replace(facts.workspace, **changes))

    return apply


def holds(role: Role, kind: str = "ServicePrincipal", scope: str = "", condition: str = "") -> Edit:
    """The only assignment; on the endpoint unless a scope is given."""

    def apply(facts: Facts) -> Facts:
        one = Assignment("ann", kind, role, scope or facts.endpoint.id, condition)
        return replace(facts, assignments=(one,))

    return apply


def identity(*roles: tuple[Role, str]) -> Edit:
    """What the endpoint's identity holds; the scope is a field of the workspace's settings, or an ARM id."""

    def apply(facts: Facts) -> Facts:
        held = tuple(
            Assignment("id", "ServicePrincipal", role, getattr(facts.workspace, scope, scope))
            for role, scope in roles
        )
        return replace(facts, identities={"id": held})

    return apply


def assets(**changes: object) -> Edit:
    """Every model and environment as a registered one, with these fields."""

    def apply(facts: Facts) -> Facts:
        return replace(facts, assets={key: Asset(key, **{"found": True, **changes}) for key in facts.assets})  # type: ignore[arg-type]

    return apply


PULL = Role("AcrPull", (Permission(("Microsoft.ContainerRegistry/registries/pull/read",)),))
OWNER = Role("Owner", (Permission(("*",)),))
SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"


def event(operation: str, days: int) -> Edit:
    return lambda facts: replace(facts, key_events=(KeyEvent(operation, NOW - timedelta(days=days), "ann", True),))


CASES: dict[str, tuple[Edit, Edit]] = {
    "auth-keys": (mode("Key"), mode("AADToken")),
    "auth-tokens": (mode("AMLToken"), mode("AADToken")),
    "key-age": (lambda f: made(200)(replace(f, key_events=())), lambda f: event("regenerateKeys", 3)(made(30)(f))),
    "key-reads": (event("listKeys", 1), lambda f: replace(f, key_events=())),
    "secret-in-variable": (variables(DB_PASSWORD=PASSWORD), variables(DB_PASSWORD=REFERENCE, KEYBOARD="q")),
    "secret-in-tag": (
        with_arm(lambda own, _: own.update(tags={"contact": f"AccountKey={'a' * 40}"})),
        with_arm(lambda own, _: own.update(tags={"contact": "#claims"})),
    ),
    "public-endpoint": (
        lambda f: f,
        with_arm(lambda own, _: own["properties"].update(publicNetworkAccess="Disabled")),
    ),
    "open-egress": (
        lambda f: f,
        with_arm(lambda _, first: first["properties"].update(egressPublicNetworkAccess="Disabled")),
    ),
    "workspace-isolation": (lambda f: f, settings(isolation="AllowOnlyApprovedOutbound")),
    "workspace-public": (lambda f: f, settings(public_network_access="Disabled")),
    "identity-none": (lambda f: replace(f, identities={}), lambda f: f),
    "identity-missing-role": (identity((PULL, "registry")), lambda f: f),
    "identity-excessive-role": (identity((OWNER, "storage")), lambda f: f),
    "identity-wide-scope": (identity((PULL, SUBSCRIPTION)), identity((PULL, "registry"))),
    "access-grants": (holds(OWNER), holds(WRITER)),
    "access-broad": (holds(WRITER, scope=SUBSCRIPTION), holds(WRITER)),
    "access-person": (holds(WRITER, "User"), holds(WRITER, "Group")),
    "access-keys": (holds(KEY_READER), holds(READER)),
    "access-unexpected": (holds(WRITER), holds(READER)),
    "model-unregistered": (lambda f: f, assets(tags={"approved": "ann"})),
    "model-missing": (assets(found=False), assets()),
    "model-unapproved": (assets(tags={"approved": "no"}), assets(tags={"approved": "ann"})),
    "environment-unregistered": (lambda f: f, assets()),
    "environment-missing": (assets(found=False), assets()),
    "image-mutable": (assets(image="mcr.example/x:latest"), assets(image="mcr.example/x@sha256:ab")),
    "packages-unpinned": (
        assets(conda="dependencies: [python=3.11, numpy]"),
        assets(conda="dependencies: [python=3.11, {pip: [numpy==2.0.0]}]"),
    ),
}
"""For each rule, what makes it fire and what does not, from the same reading."""


def test_each_rule_fires_and_does_not_fire(facts: Facts):
    """Each rule has both, and every finding has evidence and a fix; no rule is without a case."""
    assert CASES.keys() == RULES.keys() - {"exception-expired"}
    security = Security(operators=("bea",))
    for rule, (fires, clear) in CASES.items():
        found = judge(fires(facts), security).findings
        assert rule in {one.rule for one in found}, rule
        assert all(one.evidence and one.fix and one.subject for one in found), rule
        assert rule not in rules(clear(facts), security), rule


GROUP_ABOVE = "/providers/Microsoft.Management/managementGroups/corp"


def test_a_role_on_a_management_group_is_a_broad_one(facts: Facts):
    """It is above every subscription: too broad for who changes the endpoint, and enough for its identity."""
    assert "access-broad" in rules(holds(WRITER, scope=GROUP_ABOVE)(facts))
    blobs = Role(
        "Blob reader", (Permission(data_actions=("Microsoft.Storage/storageAccounts/blobServices/*/read",)),)
    )
    found = rules(identity((PULL, GROUP_ABOVE), (blobs, GROUP_ABOVE))(facts))
    assert "identity-wide-scope" in found
    assert "identity-missing-role" not in found


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("DATABASE_URL", "postgres://ann:hunter2@db/claims", "it holds a password"),
        ("STORE", "Server=db;User=ann;Password=hunter2;", "it holds a password"),
        ("DB_PASSWORD", "20261128", "its name is that of a secret"),
        ("MAX_TOKENS", "512", ""),
        ("TOKENIZERS_PARALLELISM", "false", ""),
        ("TOKENIZER", "bert-base-uncased", ""),
        ("DATABASE_URL", "postgres://db/claims", ""),
    ],
)
def test_a_secret_is_told_from_a_setting(name: str, value: str, why: str):
    """A password in an address is one whatever its name; a number or a switch is none."""
    assert find_secret(name, value) == why


def test_a_tag_may_hold_a_secret_whatever_its_name(facts: Facts):
    """Only the service's own properties are passed over, not every name that begins with azure."""
    tagged = with_arm(lambda own, _: own.update(tags={"azure_client_secret": PASSWORD}))
    assert "secret-in-tag" in rules(tagged(facts))
    assert "secret-in-tag" not in rules(facts)


def test_a_deployment_without_a_model_has_no_unregistered_one(facts: Facts):
    """A container or a model package brings its own."""
    endpoint = facts.endpoint
    bare = copy.deepcopy(dict(endpoint.deployments[0].arm))
    bare["properties"]["model"] = None
    found = replace(
        facts, endpoint=replace(endpoint, deployments=(replace(endpoint.deployments[0], arm=bare, model=""),))
    )
    assert "model-unregistered" not in rules(found)


def test_a_rejected_model_is_named_with_its_tag(facts: Facts):
    """Its tag is there, and says no."""
    found = judge(assets(tags={"approved": "no"})(facts)).findings
    (evidence,) = {one.evidence for one in found if one.rule == "model-unapproved"}
    assert evidence.endswith("has the tag 'approved' with the value 'no': it was not approved")


def test_the_sandbox_grants_what_the_identity_needs_and_no_more(facts: Facts):
    """An endpoint made by an owner has its three roles, and no finding about its identity."""
    assert not isinstance(facts.identities, Unread)
    (held,) = facts.identities.values()
    assert {one.role.name for one in held} == {"AcrPull", "Storage Blob Data Reader", "AzureML Metrics Writer"}
    assert not {rule for rule in rules(facts) if rule.startswith("identity")}


def test_a_secret_is_never_shown(facts: Facts):
    """The name of the variable is in the finding, its value in none of the reports."""
    found = judge(variables(DB_PASSWORD=PASSWORD)(facts))
    for report in (as_text(found), as_json(found), as_sarif(found)):
        assert "DB_PASSWORD" in report
        assert PASSWORD not in report


def test_an_exception_holds_until_it_expires(facts: Facts):
    """Accepted until a date by a person; afterwards the finding is open, and the exception is one of its own."""

    def exception(days: int) -> RuleException:
        expires = NOW + timedelta(days=days)
        return RuleException(rule="auth-keys", reason="client X cannot", owner="bea", expires=expires)

    holding, expired = judge(facts, None, exception(5)), judge(facts, None, exception(-5))
    accepted = next(one for one in holding.findings if one.rule == "auth-keys")
    assert accepted.accepted == f"until {NOW + timedelta(days=5):%Y-%m-%d} by bea: client X cannot"
    assert accepted not in holding.open
    assert {"auth-keys", "exception-expired"} <= {one.rule for one in expired.open}


def test_what_cannot_be_read_is_named(facts: Facts):
    """A part without permission holds its reason, and no finding is made up about it."""
    blind = Unread("403 lacks Microsoft.Authorization/roleAssignments/read")
    found = judge(replace(facts, assignments=blind, identities=blind, key_events=blind, workspace=blind))
    assert {one.reason for one in found.unread} >= {blind.reason}
    assert not {
        one.rule for one in found.findings if one.rule.startswith(("access", "identity", "key", "workspace"))
    }
    assert "not read: workspace settings" in found.sentence


def test_the_severity_decides_the_outcome(facts: Facts):
    """A finding at or above fail_on fails; an accepted one and a lower one do not."""
    found = judge(holds(WRITER)(facts))
    assert not found.at_least(Severity.HIGH)
    assert conclude_review(found, "high")[0] is Outcome.SUCCEEDED
    assert conclude_review(found, "medium")[0] is Outcome.FAILED
    assert conclude_review(found, "none")[0] is Outcome.SUCCEEDED


def test_a_review_that_may_not_read_roles_decides_nothing(facts: Facts):
    """The finding that fails it may be in what was not read; one that was read fails it all the same."""
    blind = replace(facts, assignments=Unread("403 lacks Microsoft.Authorization/roleAssignments/read"))
    outcome, reason = conclude_review(judge(blind), "high")
    assert outcome is Outcome.HELD
    assert reason.endswith("0 at or above high, limit 0, and what was not read may hold more")
    assert conclude_review(judge(variables(DB_PASSWORD=PASSWORD)(blind)), "high")[0] is Outcome.FAILED
    assert conclude_review(judge(blind), "none")[0] is Outcome.SUCCEEDED
    registry = {key: Unread("it is in a registry, which this does not read") for key in facts.assets}
    assert conclude_review(judge(holds(WRITER)(replace(facts, assets=registry))), "high")[0] is Outcome.SUCCEEDED


def test_the_command_reports_and_its_exit_code_distinguishes(world: World, capsys: pytest.CaptureFixture[str]):
    """SARIF lists every rule; JSON lists who may do what; the exit code follows --fail-on."""
    assert main(["review", world.name, "--sarif", "--fail-on", "medium"]) == 1
    log = json.loads(capsys.readouterr().out)
    assert {rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]} == set(RULES)
    assert main(["review", world.name, "--json", "--fail-on", "none"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert any("grant roles" in one["capabilities"] for one in content["access"])
    assert main(["review", "absent"]) == 2


def test_a_run_leaves_evidence_and_changes_nothing(world: World):
    """The notebook ends with the outcome of the review, sealed; the endpoint is as it was."""
    before: Endpoint = world.read()
    folder, record = world.run("review", fail_on="medium")
    assert record.outcome is Outcome.FAILED
    assert "at or above medium, limit 0" in record.reason
    (found,) = journal(folder, "reviewed")
    assert {one["rule"] for one in found["findings"]} >= {"auth-keys", "public-endpoint"}
    assert (folder / SEAL).is_file()
    assert world.read() == before
