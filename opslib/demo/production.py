"""A company's production before the release: an endpoint on which deployment blue serves the first version.

A program of its own: it uses azure-ai-ml, azure-identity and environment variables, and imports nothing of opslib.
Usage: ``python -m opslib.demo.production FOLDER SUBSCRIPTION GROUP WORKSPACE``
"""

import sys
from pathlib import Path

from azure.ai.ml import MLClient, load_online_deployment, load_online_endpoint
from azure.identity import DefaultAzureCredential


def main(folder: str, subscription_id: str, resource_group: str, workspace_name: str) -> None:
    """Create the endpoint and its first deployment, and route all traffic to it."""
    client = MLClient(
        DefaultAzureCredential(), subscription_id, resource_group, workspace_name, enable_telemetry=False
    )
    endpoint = client.online_endpoints.begin_create_or_update(
        load_online_endpoint(str(Path(folder) / "endpoint.yml"))
    ).result()
    client.online_deployments.begin_create_or_update(
        load_online_deployment(str(Path(folder) / "blue.yml"))
    ).result()
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()


if __name__ == "__main__":
    main(*sys.argv[1:5])
