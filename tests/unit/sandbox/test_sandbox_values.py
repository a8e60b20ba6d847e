import doctest
import importlib
from pathlib import Path

import pytest

from opslib.cli.main import main
from opslib.sandbox.arm.principals import OPERATOR
from opslib.sandbox.core.certificates import ensure_signing_key
from opslib.sandbox.identity.roles import Role
from opslib.sandbox.identity.tokens import TokenRefused, Tokens
from opslib.sandbox.instances.requirements import differences
from opslib.sandbox.server.listener import listen
from opslib.sandbox.server.routes import ROUTES
from opslib.sandbox.telemetry.kql.parser import SemanticError, parse


@pytest.mark.parametrize("name", ["core.clock", "core.ids", "telemetry.kql.query", "core.skus"])
def test_examples_in_docstrings_hold(name: str):
    """What a docstring shows is what happens."""
    module = importlib.import_module(f"opslib.sandbox.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_each_operation_is_routed_once():
    """No two routes answer the same method and address."""
    addresses = [(route.method, route.template) for route in ROUTES]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("depth", [100, 5000])
def test_deep_queries_are_refused(depth: int):
    """A query nested too deep is a semantic error, not a crash."""
    with pytest.raises(SemanticError):
        parse("T | where " + "(" * depth + "1 == 1" + ")" * depth)


def test_a_long_chain_is_no_nesting():
    """Many conditions side by side are fine."""
    assert parse("T | where " + " or ".join(["a == 1"] * 500)).steps[0].word == "where"


def test_roles_allow_as_azure_does():
    """Actions match without regard to case, `*` spans segments, notActions take away."""
    role = Role("reader", actions=("*/read",), not_actions=("Microsoft.Secrets/*",))
    assert role.allows("microsoft.machinelearningservices/workspaces/READ")
    assert not role.allows("Microsoft.Secrets/keys/read")
    assert not role.allows("Microsoft.MachineLearningServices/workspaces/write")


def test_differing_environments_are_named():
    """A requirement that the running Python does not meet is listed, one that it meets is not."""
    lines = differences("dependencies: [python=2.7, pip, {pip: [no-such-package==1.0, pytest==0.1, pytest]}]")
    assert len(lines) == 3
    assert lines[0].startswith("Python 2.7 is required")
    assert "not installed" in lines[1]
    assert "pytest==0.1" in lines[2]


@pytest.mark.parametrize(("audience", "lifetime_s", "good"), [("a", 60, True), ("a", -60, False), ("b", 60, False)])
def test_tokens_expire_and_have_one_audience(tmp_path: Path, audience: str, lifetime_s: float, good: bool):
    """An expired token, and one for another audience, are refused."""
    tokens = Tokens(
        ensure_signing_key(tmp_path / "key.pem"), "https://issuer.invalid/", {OPERATOR.object_id: OPERATOR}.get
    )
    header = f"Bearer {tokens.issue_for(OPERATOR, audience, lifetime_s).token}"
    if good:
        assert tokens.principal(header, {"a"}) == OPERATOR
        with pytest.raises(TokenRefused):  # also a token that was verified before
            tokens.principal(header, {"b"})
        return
    with pytest.raises(TokenRefused):
        tokens.principal(header, {"a"})


@pytest.mark.parametrize("content", ["", "70000", "no port"])
def test_a_port_file_that_was_cut_short_is_written_again(content: str, tmp_path: Path):
    """A sandbox takes a free port, and has it again at its next start."""
    last = tmp_path / "port"
    last.write_text(content)
    with listen(last, 0) as listener:
        port = listener.getsockname()[1]
    assert last.read_text() == str(port)
    with listen(last, 0) as listener:
        assert listener.getsockname()[1] == port


def test_a_port_out_of_range_is_refused(capsys: pytest.CaptureFixture[str]):
    """The command names the range; nothing is started."""
    with pytest.raises(SystemExit) as ended:
        main(["sandbox", "up", "--port", "70000"])
    assert ended.value.code == 2
    assert "expected a port from 0 to 65535, got '70000'" in capsys.readouterr().err
