import doctest
import importlib

import pytest

from opslib.sandbox.kql_parser import SemanticError, parse
from opslib.sandbox.principals import Role
from opslib.sandbox.requirements import differences
from opslib.sandbox.routes import ROUTES


@pytest.mark.parametrize("name", ["clock", "ids", "kql", "skus"])
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
    """A requirement that the running Python does not meet is said, one that it meets is not."""
    said = differences("dependencies: [python=2.7, pip, {pip: [no-such-package==1.0, pytest==0.1, pytest]}]")
    assert len(said) == 3
    assert said[0].startswith("Python 2.7 is asked for")
    assert "not there" in said[1]
    assert "pytest==0.1" in said[2]
