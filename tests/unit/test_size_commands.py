"""The commands that the size runbook prints: another instance type is a deployment of its own."""

import shlex
from decimal import Decimal
from types import SimpleNamespace

from worlds import deployment, endpoint

from opslib.definitions.deployment import read_deployment
from opslib.definitions.source import read_replacements
from opslib.parameters import DeployParameters, SizeParameters
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
