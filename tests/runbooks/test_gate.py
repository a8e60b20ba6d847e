"""Production traffic waits for a passed validation and for the approvals of exactly this plan."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from notebook_fixture import outputs
from runbook_world import World, journal

from opslib.cli.main import main
from opslib.errors import ApprovalNeeded, Drift, PlanError
from opslib.evidence.run.files import APPROVALS, VALIDATION
from opslib.evidence.run.record import Approval, Record, read_record
from opslib.evidence.signing.approvers import VARIABLE
from opslib.evidence.signing.public_keys import public_pem
from opslib.evidence.verify.verify import verify
from opslib.model import Level, Outcome
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.deploy import DeployParameters
from opslib.parameters.rollback import RollbackParameters
from opslib.parameters.validate import ValidateParameters
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.canary.checks import check_canary
from opslib.runbooks.deploy import check_deploy, plan_deploy
from opslib.runbooks.rollback import check_rollback
from opslib.runbooks.run import Run
from opslib.runbooks.steps.preflight import require_clear
from opslib.runbooks.validate import check_validate, plan_validate, validate

NOW = datetime.now(UTC)
PEOPLE = ("claims-lead", "model-risk", "on-call")


def write_policy(world: World, **content: object) -> str:
    """A policy that requires a validation set of three requests."""
    lines = [
        {
            "request": {"data": [1, 2, n]},
            "answer": {"version": "green", "sum": 3.4 + n},
            "tolerance": {"absolute": 0.5},
        }
        for n in range(3)
    ]
    (world.folder / "claims.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    owner = {"team": "claims", "contact": "on-call"}
    policy = {"version": 1, "endpoint": world.name, "owner": owner, "validation": {"file": "claims.jsonl"}}
    path = world.folder / "policy.yml"
    path.write_text(yaml.safe_dump(policy | content))
    return str(path)


def run(world: World, runbook: str, *words: str, **given: object) -> tuple[int, Path, Record]:
    parameters = [word for n, v in {"endpoint": world.name, **given}.items() for word in ("-p", f"{n}={v}")]
    code = main(["run", runbook, *parameters, "--runs", str(world.runs), *words])
    folder = max(world.runs.glob(f"2*/*-{runbook}-*"), key=lambda f: read_record(f).seq)
    return code, folder, read_record(folder)


@pytest.fixture
def approve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Approvers with a key in a PEM, and one of ssh; each signs into one folder."""
    folder = tmp_path / "approvals"
    pem, signers, ssh = tmp_path / "approvers.pem", tmp_path / "allowed_signers", tmp_path / "id_ed25519"
    keys = {}
    for who in PEOPLE[:2]:
        private = Ed25519PrivateKey.generate()
        keys[who] = tmp_path / f"{who}.pem"
        keys[who].write_bytes(private_pem(private))
        pem.write_text(
            (pem.read_text() if pem.exists() else "") + f"who: {who}\n{public_pem(private.public_key())}"
        )
    monkeypatch.setenv(VARIABLE, str(pem))
    if shutil.which("ssh-keygen"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh)], check=True)
        signers.write_text(f"{PEOPLE[2]} {ssh.with_suffix('.pub').read_text()}")
        monkeypatch.setenv(VARIABLE, f"{pem}:{signers}")

    def sign(name: str, runs: Path, who: str) -> Path:
        target = folder / f"{who}.json"
        words = ["--ssh-key", str(ssh)] if who == PEOPLE[2] else []
        with monkeypatch.context() as patch:
            if not words:
                patch.setenv("OPSLIB_SIGNING_KEY_FILE", str(keys[who]))
            assert main(["approve", name, "--runs", str(runs), "--who", who, "--to", str(target), *words]) == 0
        return folder

    return sign


def private_pem(private: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_new_version_takes_traffic_only_validated_and_approved(make_world, approve, capsys):
    """Blocked, validated, waiting with exit code 6, then carried out: the same plan, all of it verified."""
    world = make_world(green={})
    rules = [{"runbooks": ["rollback"], "count": 2, "of": list(PEOPLE)}]
    policy = write_policy(world, approvals=rules)
    given: Mapping[str, object] = {"to": "green", "policy": policy, "probes": world.probes("green")}

    blocked = opened(world, RollbackParameters(endpoint=world.name, to="green", policy=policy))
    found = {one.check: one for one in check_rollback(blocked, world.read(), "green")}
    assert found["validation"].level is Level.BLOCKER
    assert found["validation"].evidence == "green: no validation of this deployment in the archive"
    command = f"opslib run validate -p endpoint={world.name} -p deployment=green -p policy={policy}"
    assert found["validation"].fix.startswith(f"Validate this version: {command}; in an emergency: ")
    blocked.record = replace(blocked.record, emergency=True)
    levels = {one.check: one.level for one in check_rollback(blocked, world.read(), "green")}
    assert levels["validation"] is Level.WARNING
    assert "validation" not in {one.check for one in check_rollback(blocked, world.read(), "blue")}  # it serves

    code, folder, record = run(world, "validate", deployment="green", policy=policy)
    assert (code, record.outcome) == (0, Outcome.SUCCEEDED), record.reason
    assert record.reason == (
        "green: 3 of 3 answers correct, limit 100 %; wrong answers at most 63.2 % at 95 % confidence"
    )
    lines = [json.loads(line) for line in (folder / VALIDATION).read_text().splitlines()]
    version = world.read().find("green")
    assert [line["line"] for line in lines] == [1, 2, 3]
    assert {(one["deployment"], one["model"], one["version_sha256"]) for one in lines} == {
        ("green", version.arm["properties"]["model"], version.version_sha256)
    }
    assert len({line["client_request_id"] for line in lines} | {line["request_id"] for line in lines}) == 6
    assert world.read().traffic == {"blue": 100}

    code, folder, record = run(world, "rollback", **given)
    assert (code, record.outcome, record.exit_code) == (6, Outcome.WAITING, 6)
    assert "\n  plan: traffic: blue=100 -> green=100\n" in capsys.readouterr().out
    assert f"plan {record.plan_sha256[:16]} waits for approval. 0 of 2 approvals." in record.reason
    assert f"opslib approve {folder.name} --who NAME" in record.reason
    assert f"opslib run rollback -p endpoint={world.name} -p policy={policy} -p to=green" in record.reason
    (waiting,) = journal(folder, "waiting for approval")
    assert waiting["plan_sha256"] == record.plan_sha256
    assert "waits for approval" in outputs(folder)
    assert world.read().traffic == {"blue": 100}

    approvals = approve(folder.name, world.runs, PEOPLE[0])
    signer = PEOPLE[2] if shutil.which("ssh-keygen") else PEOPLE[1]
    approve(folder.name, world.runs, signer)
    altered = (approvals / f"{PEOPLE[0]}.json").read_text().replace('"sig":"', '"sig":"AAAA')
    (approvals / "altered.json").write_text(altered)
    code, folder, record = run(world, "rollback", "--approval", str(approvals), **given)
    assert (code, record.outcome) == (0, Outcome.SUCCEEDED), record.reason
    assert {one.who for one in record.approvals} == {PEOPLE[0], signer}
    assert record.rejected_approvals == ("the signature is wrong: the payload was changed after it was signed",)
    assert len((folder / APPROVALS).read_text().splitlines()) == 2
    assert world.read().traffic == {"green": 100}
    assert verify(world.runs).findings == ()
    capsys.readouterr()


def test_a_run_that_waits_without_approvers_names_the_files_of_their_keys(make_world, monkeypatch, capsys):
    """Without a key of theirs no approval counts, so the first message has it, before a person signs."""
    world = make_world(green={})
    monkeypatch.delenv(VARIABLE, raising=False)
    policy = write_policy(world, approvals=[{"runbooks": ["scale"], "count": 1, "of": list(PEOPLE)}])
    code, _, record = run(world, "scale", deployment="green", instances=2, policy=policy)
    assert (code, record.outcome) == (6, Outcome.WAITING), record.reason
    assert (
        "first:          no approvers are configured. Put the approvers' public keys, " in capsys.readouterr().out
    )
    assert VARIABLE in record.reason


def opened(world: World, parameters, **fields):
    """A run without a notebook, in an archive of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLIB_RUNS", str(world.folder / "opened"))
        one = Run.open(parameters)
    one.record = replace(one.record, **fields)
    return one


def test_a_version_fails_its_validation_honestly(make_world):
    """Wrong answers, and a change during the validation; a canary stays blocked, an A/A test does not."""
    world = make_world(green={})
    policy = write_policy(world)
    wrong = opened(world, ValidateParameters(endpoint=world.name, deployment="blue", policy=policy))
    before = wrong.read_endpoint()
    require_clear(check_validate(wrong, before))
    plan = plan_validate(wrong, before)
    ended = validate(wrong, plan)
    assert (ended.outcome, ended.correct, ended.requests) == (Outcome.FAILED, 0, 3)
    assert 'first wrong: line 1: answered {"version": "blue", "sum": 3}' in ended.reason
    assert 'version is "blue", expected "green"' in ended.reason
    lines = [json.loads(line) for line in (wrong.folder / VALIDATION).read_text().splitlines()]
    assert [line["correct"] for line in lines] == [False] * 3
    blue = before.find("blue")
    arm = blue.arm | {"properties": {**blue.arm["properties"], "model": "/another/version"}}
    changed = replace(plan, before=replace(before, deployments=(replace(blue, arm=arm),)))
    with pytest.raises(Drift, match="blue was changed or deleted while it was validated"):
        validate(wrong, changed)

    canary = opened(world, CanaryParameters(endpoint=world.name, canary="green", policy=policy, bake_s=1))
    (finding,) = [one for one in check_canary(canary, before) if one.check == "validation"]
    assert "no validation of this deployment" in finding.evidence
    rehearsal = opened(
        world, CanaryParameters(endpoint=world.name, canary="green", policy=policy, bake_s=1, rehearse=True)
    )
    assert "validation" not in {one.check for one in check_canary(rehearsal, before)}


def test_the_approved_plan_holds_the_code(world):
    """The same files give the same plan; a changed one needs another approval, even after the plan was made."""
    policy = write_policy(world, approvals=[{"runbooks": ["deploy"], "count": 1, "of": list(PEOPLE)}])
    parameters = DeployParameters(endpoint=world.name, definition=world.definition("green"), policy=policy)
    before = world.read()

    def planned(**fields: object):
        one = opened(world, parameters, **fields)
        (one.folder / APPROVALS).write_text("{}\n" * len(one.record.approvals))
        require_clear(check_deploy(one, before))
        return one, plan_deploy(one, before)

    first, plan = planned()
    with pytest.raises(ApprovalNeeded, match=r"0 of 1 approvals\. Needed: 1 approval, of claims-lead"):
        require_approved(first, plan)
    digest = first.record.plan_sha256
    approval = Approval("on-call", f"{NOW:%FT%TZ}", "yes", digest, f"{NOW + timedelta(hours=1):%FT%TZ}", "key")
    second, second_plan = planned(approvals=(approval,))
    assert second.record.plan_sha256 == digest
    require_approved(second, second_plan)
    own = replace(approval, who=second.workspace.scope.principal)
    third, plan = planned(approvals=(own,))
    with pytest.raises(ApprovalNeeded, match="runs this change, and therefore cannot approve it"):
        require_approved(third, plan)

    with (world.folder / "code/score.py").open("a") as file:
        file.write("\n# changed\n")
    with pytest.raises(PlanError, match="a file of this plan was changed"):
        require_approved(second, second_plan)
    fourth, plan = planned(approvals=(approval,))
    assert fourth.record.plan_sha256 != digest
    with pytest.raises(ApprovalNeeded, match=f"on-call: approved the plan {digest[:16]}, but this is"):
        require_approved(fourth, plan)
    assert fourth.record.approvals == ()
