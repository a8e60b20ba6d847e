"""Approvals before a run starts: which files are read, which are valid, and which were withdrawn."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opslib.errors import ParameterError, RecordError
from opslib.evidence.run.record import Approval, Record
from opslib.evidence.signing import approval, revocation
from opslib.evidence.signing.approval import ApprovalCheck
from opslib.evidence.signing.approval_files import read_approvals
from opslib.evidence.signing.keys import SigningKey
from opslib.evidence.signing.public_keys import PublicKey, key_id
from opslib.evidence.signing.revocation import Revocation, open_revocations
from opslib.policy.policy import ApprovalRule
from opslib.runbooks.plan_approvals import count_by_rule

NOW = datetime.now(UTC)
PLAN = "1" * 64


def key():
    private = Ed25519PrivateKey.generate()
    return SigningKey(private, key_id(private.public_key()), "test")


KEYS = {name: key() for name in ("ann", "bob")}
APPROVERS = {one.id: PublicKey(one.private.public_key(), who=name) for name, one in KEYS.items()}


def signed(who="ann", at=NOW, hours=24, plan=PLAN):
    expires = at + timedelta(hours=hours)
    given = Approval(who, f"{at:%FT%TZ}", "I agree", plan, expires=f"{expires:%FT%TZ}")
    return approval.sign(given, KEYS[who])


def withdrawn(who="ann", at=NOW, plan=PLAN):
    return revocation.sign(Revocation(who, f"{at:%FT%TZ}", "the set was wrong", plan), KEYS[who])


def check(*revocations, people=()):
    return ApprovalCheck(APPROVERS, people, "seal", open_revocations(revocations, APPROVERS))


@pytest.mark.parametrize(
    ("revoked", "reason"),
    [
        (None, ""),
        (withdrawn(at=NOW + timedelta(minutes=1)), "ann withdrew the approval at"),
        (withdrawn(at=NOW - timedelta(minutes=1)), ""),
        (withdrawn(plan="2" * 64), ""),
        (withdrawn(who="bob"), ""),
    ],
    ids=["none", "afterwards", "approved again", "of another plan", "another's"],
)
def test_an_approval_that_was_withdrawn_does_not_count(revoked, reason):
    """Only by the same person, of the same plan, and not if it was given again."""
    valid, rejected = check(*([revoked] if revoked else [])).select([signed()])
    assert bool(valid) is not bool(reason)
    assert reason in "".join(rejected)


def test_an_approval_of_a_time_to_come_does_not_count():
    """It would outlive the policy's hours, and a withdrawal of today. A few minutes are a clock's."""
    later = NOW + timedelta(hours=2)
    valid, rejected = check(withdrawn(at=NOW + timedelta(minutes=1))).select([signed(at=later)])
    assert not valid
    assert f"the approval by ann is of {later:%FT%TZ}, which is in the future" in rejected[0]
    assert check().select([signed(at=NOW + timedelta(minutes=1))])[0]


def test_a_revocation_that_was_altered_stops_the_run():
    """Damaged so that an approval counts again, it must not be passed over."""
    content = json.loads(withdrawn())
    content["payload"] = content["payload"][:-8] + "AAAAAAA="
    with pytest.raises(RecordError):
        check(json.dumps(content, separators=(",", ":")) + "\n")
    with pytest.raises(RecordError, match="not a revocation"):
        check(signed())


def test_those_of_a_folder_count_where_they_are_valid_and_those_that_are_named_must_be():
    """Each that does not count is named with its reason."""
    expired = signed("bob", NOW - timedelta(hours=3), hours=1)
    valid, rejected = check().select([signed(), expired])
    assert [one.who for one in valid.values()] == ["ann"]
    assert "the approval by bob had expired" in rejected[0]
    assert [one.who for one in check().require([signed()])] == ["ann"]
    with pytest.raises(ParameterError, match="approval 2 rejected: the approval by bob had expired"):
        check().require([signed(), expired])
    with pytest.raises(ParameterError, match="requests or runs this change"):
        check(people=("ANN",)).require([signed()])
    with pytest.raises(ParameterError, match="no approvers are configured"):
        ApprovalCheck({}, (), "").require([signed()])


def test_files_and_folders_of_approvals_are_read(tmp_path):
    """A revocation beside a file that is named is read too, so that it cannot be left out by mistake."""
    folder = tmp_path / "approvals"
    folder.mkdir()
    (folder / "approval-1-ann.json").write_text(signed())
    (folder / "notes.json").write_text("{}")
    (folder / "revocation-1-ann.json").write_text(withdrawn())
    claim = tmp_path / "claim.json"
    claim.write_text(json.dumps({"who": "joe", "at": "now", "meaning": "yes", "plan_sha256": PLAN}))
    found = read_approvals([folder, claim])
    assert (len(found.offered), len(found.signed), len(found.revocations)) == (1, 0, 1)
    assert found.claims[0].who == "joe"
    named = read_approvals([folder / "approval-1-ann.json"])
    assert (named.signed, len(named.revocations)) == ((signed_text(folder),), 1)
    for wrong in (folder / "notes.json", tmp_path / "none.json"):
        with pytest.raises(ParameterError, match="approval"):
            read_approvals([wrong])


def signed_text(folder):
    return (folder / "approval-1-ann.json").read_text()


@pytest.mark.parametrize(
    ("name", "value"), [("changes", ["x"]), ("changes", [{"what": "traffic"}]), ("workspace", 3), ("files", ["a"])]
)
def test_a_plan_that_an_approver_could_not_read_is_none(tmp_path, name, value):
    """What is signed is what was shown: all of it must be there."""
    plan = {"runbook": "canary", "endpoint": "fraud", "workspace": ["s", "g", "w"], "changes": [], "parameters": {}}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    assert approval.read_plan(path)[0] == plan
    path.write_text(json.dumps(plan | {name: value}))
    with pytest.raises(RecordError, match="is not the plan of a run"):
        approval.read_plan(path)


def test_a_claim_counts_for_nothing_whatever_time_it_names():
    """It is named as not signed; a time that is none had ended the run."""
    claims = [Approval("joe", at, "yes", PLAN) for at in ("yesterday", "", f"{NOW:%FT%TZ}")]
    record = Record("run", "canary", "fraud", {}, NOW, approvals=tuple(claims), plan_sha256=PLAN)
    count = count_by_rule(ApprovalRule(count=1), {}, record)
    assert (count.enough, count.rejected) == (False, ("joe: not signed",) * 3)
