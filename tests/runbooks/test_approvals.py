"""A plan is approved by another person before it is applied: signed, compared, kept, verified with the run."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from notebook_fixture import RECORD, write_runbook

from opslib.cli.main import main
from opslib.evidence.run.files import APPROVALS
from opslib.evidence.run.record import read_record
from opslib.evidence.signing import approvers as approvers_file
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.signing.keys import find_signing_key
from opslib.evidence.signing.public_keys import public_pem
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome

OWNER = "owner@harborshield.example"


@pytest.fixture
def approvers(tmp_path, monkeypatch):
    """Signs as a person with a key of their own; the public keys are kept with their names."""
    kept = tmp_path / "approvers.pem"
    stranger = Ed25519PrivateKey.generate().public_key()
    kept.write_text(f"who: heidi@harborshield.example\n{public_pem(stranger)}")
    monkeypatch.setenv(approvers_file.VARIABLE, str(kept))

    def sign(who, plan, *words, listed=True):
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(tmp_path / who))
            if listed and who not in kept.read_text():
                key = public_pem(find_signing_key().private.public_key())
                kept.write_text(f"{kept.read_text()}who: {who}\n{key}")
            target = tmp_path / f"{who}.json"
            assert main(["approve", str(plan), "--who", who, "--to", str(target), *words]) == 0
            return target

    return sign


def run(world, *words, **given):
    parameters = [w for n, v in ({"endpoint": world.name} | given).items() for w in ("-p", f"{n}={v}")]
    code = main(["run", "rollback", *parameters, "--runs", str(world.runs), *words])
    folder = max(world.runs.glob("2*/*-rollback-*"), key=lambda f: read_record(f).seq)
    return code, folder, read_record(folder)


def test_an_approved_plan_is_carried_out_and_another_is_refused(make_world, approvers, capsys):
    """The digest of a dry run is that of the run itself; with another parameter it is another plan."""
    world = make_world(green={})
    world.route(blue=50, green=50)
    given = {"to": "blue", "probes": world.probes("blue")}
    _, dry, planned = run(world, **given, dry_run="true")
    agreed = approvers(OWNER, dry / "plan.json")
    assert "traffic: blue=50 green=50 -> blue=100" in capsys.readouterr().out
    code, folder, record = run(world, "--approval", str(agreed), **given, verify_requests="7")
    assert (code, record.outcome) == (2, Outcome.REFUSED)
    assert f"{OWNER} approved the plan {planned.plan_sha256[:16]}, but this is" in record.reason
    assert world.read().traffic == {"blue": 50, "green": 50}
    code, folder, record = run(world, "--approval", str(agreed), **given)
    assert (code, record.outcome) == (0, Outcome.SUCCEEDED), record.reason
    assert record.plan_sha256 == planned.plan_sha256
    ((one,), text) = record.approvals, (folder / APPROVALS).read_text()
    assert (one.who, one.plan_sha256, text) == (OWNER, planned.plan_sha256, agreed.read_text())
    assert verify(world.runs).findings == ()
    main(["runs", "show", folder.name, "--runs", str(world.runs)])
    assert f"this plan, signed by key {one.keyid[:16]}" in capsys.readouterr().out


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan that was made elsewhere, and a runbook to approve."""
    monkeypatch.chdir(tmp_path)
    write_runbook(tmp_path, RECORD)
    path = tmp_path / "plan.json"
    plan = {"runbook": "rollback", "endpoint": "fraud", "workspace": ["s"], "changes": [], "parameters": {}}
    path.write_text(json.dumps(plan))
    return path


def start(envelope, *words):
    return main(["run", "rollback", "-p", "endpoint=fraud", "--approval", str(envelope), *words])


@pytest.mark.parametrize(
    ("who", "words", "listed", "requester", "said"),
    [
        (OWNER, (), False, "", "not one of the 1 trusted keys"),
        (OWNER, ("--hours", "-1"), True, "", "not an approval by"),
        (OWNER, ("--hours", "0"), True, "", "had expired"),
        (OWNER, (), True, OWNER.upper(), "cannot approve it"),
        ("root", (), True, "", "cannot approve it"),
    ],
    ids=["unknown key", "expired before it was given", "expired", "requester", "executor"],
)
def test_an_approval_that_does_not_hold_stops_the_run(
    plan, approvers, tmp_path, monkeypatch, capsys, who, words, listed, requester, said
):
    """Refused before anything is begun: exit code 2, nothing in the ledger."""
    monkeypatch.setattr("opslib.runner.execute.find_executor", lambda: {"user": "root"})
    envelope = approvers(who, plan, *words, listed=listed)
    assert start(envelope, "--requester", requester) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_key_that_seals_a_run_approves_none(plan, approvers, tmp_path, monkeypatch, capsys):
    """Otherwise the person who runs it could approve in any name."""
    envelope = approvers(OWNER, plan)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / OWNER))
    assert start(envelope) == 2
    assert "cannot approve it" in capsys.readouterr().err


def test_a_signed_approval_that_was_altered_stops_the_run(plan, approvers, capsys):
    """Another plan under the same signature, and another name than the key's."""
    envelope = approvers(OWNER, plan)
    content = json.loads(envelope.read_text())
    content["payload"] = content["payload"][:-8] + "AAAAAAA="
    envelope.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    assert start(envelope) == 2
    assert "approval 1 rejected" in capsys.readouterr().err


def test_what_was_approved_is_verified_with_the_run(plan, approvers, tmp_path):
    """Approvers' keys that were kept elsewhere prove it; a key that was revoked before proves nothing."""
    assert start(approvers(OWNER, plan)) == 0
    runs = tmp_path / "runs"
    assert verify(runs).findings == ()
    kept = tmp_path / "approvers.pem"
    original = kept.read_text()
    kept.write_text(original.replace("who: owner", "revoked: 2026-01-01\nwho: owner"))
    assert [(f.state, f.file) for f in verify(runs).findings] == [(VerifyState.UNKNOWN_KEY, APPROVALS)]
    kept.write_text(original.replace(OWNER, "oncall"))
    assert [(f.state, f.file) for f in verify(runs).findings] == [(VerifyState.TAMPERED, APPROVALS)]
