"""What instances share by a fork, and what Microsoft's inference server imports in each of them."""

import json
import os
import subprocess
import sys

IMPORTS = """
import json, os, sys
from importlib import import_module
from opslib.sandbox.instances.inference_server import import_insights_client
from opslib.sandbox.instances.launch import PREPARED

SERVER = "azureml_inference_server_http.server"

def exporter():
    import_insights_client()
    return import_module(f"{SERVER}.appinsights_client").AzureMonitorTraceExporter

for name in PREPARED:
    import_module(name)
seen = [f"{SERVER}.config" in sys.modules, exporter(), "opentelemetry" in sys.modules]
for name in ("config", "appinsights_client"):
    del sys.modules[f"{SERVER}.{name}"]
os.environ |= {"AML_APP_INSIGHTS_ENABLED": "true", "AML_APP_INSIGHTS_KEY": "a key"}
print(json.dumps([*seen, exporter().__module__.partition(".")[0], "opentelemetry" in sys.modules]))
"""


def test_exporters_are_imported_only_where_insights_are_enabled():
    """Nothing that is shared has read the environment; a stand-in never stays for a script to import."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AML_")}
    run = subprocess.run([sys.executable, "-c", IMPORTS], env=own, stdout=subprocess.PIPE, check=True, text=True)
    assert json.loads(run.stdout.splitlines()[-1]) == [False, None, False, "azure", True]
