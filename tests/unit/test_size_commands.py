"""The commands that the size runbook prints: another instance type is a deployment of its own."""

import shlex
from decimal import Decimal
from types import SimpleNamespace

from worlds import deployment, endpoint

from opslib.cli.main import make_parser
from opslib.definitions.deployment import read_deployment
from opslib.definitions.source import read_replacements
from opslib.parameters.deploy import DeployParameters
from opslib.parameters.size import SizeParameters
from opslib.runbooks import size
from opslib.runbooks.size import _release
from opslib.sizing.candidates import Candidate

FILE = """\
name: blue
endpoint_name: fraud
model: azureml:fraud:3
environment: azureml:fraud:1
code_configuration: {code: ., scoring_script: score.py}
instance_type: Standard_DS3_v2
instance_count: 2
"""


def test_the_definition_is_deployed_under_a_new_name_with_the_new_size(tmp_path):
    """`opslib run deploy` reads the printed values; the canary is that deployment, tested before."""
    path = tmp_path / "deployment.yml"
    path.write_text(FILE)
    wanted = Candidate("Standard_F4s_v2", 3, 4, 0.4, None, None, Decimal(1), measured=False, problems=())
    run = SimpleNamespace(parameters=SizeParameters.check({"endpoint": "fraud", "definition": str(path)}))
    commands = _release(run, endpoint({"blue": 100}, deployment("blue")), wanted, measure=True)  # type: ignore[arg-type]
    deploy, test, canary = map(shlex.split, commands)
    given = dict(one.split("=", 1) for one in deploy if "=" in one)
    p = DeployParameters.check(given)
    made = read_deployment(path, "fraud", p.deployment, read_replacements(p.set))
    assert (made.name, made.instance_type, made.instance_count) == ("f4s-v2", "Standard_F4s_v2", 3)
    assert "load_test_deployment=f4s-v2" in test
    assert canary[-1] == "canary=f4s-v2"


def test_a_count_that_autoscale_sets_is_changed_by_a_command_that_exists(monkeypatch):
    """The command line takes the printed command; a maximum above the recommended count stays."""
    monkeypatch.setattr(
        size, "read_autoscale", lambda *_: [SimpleNamespace(deployment="blue", maximum=10, name="busy")]
    )
    demand = SimpleNamespace(instance_type="Standard_DS3_v2", deployment="blue")
    chosen = Candidate("Standard_DS3_v2", 4, 4, 0.4, None, None, Decimal(1), measured=True, problems=())
    sizing = SimpleNamespace(demand=demand, chosen=chosen, to_measure=None)
    run = SimpleNamespace(workspace=None)
    (command,) = size._commands(run, endpoint({"blue": 100}, deployment("blue")), sizing)  # type: ignore[arg-type]
    given = make_parser().parse_args(shlex.split(command)[1:])
    assert (given.action, given.deployment, given.setting) == ("set", "blue", "busy")
    assert (given.min_instances, given.max_instances) == (4, 10)
