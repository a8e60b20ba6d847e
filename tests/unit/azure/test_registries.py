"""Where a registry's discovery and data plane may be: a token goes to the workspace's own cloud only."""

import pytest

from opslib.azure.registries import is_own_address

AZURE, SANDBOX = "https://management.azure.com", "https://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("address", "resource_manager", "own"),
    [
        ("https://eastus.api.azureml.ms", AZURE, True),
        ("https://cert-eastus.experiments.azureml.net", AZURE, True),
        ("https://azureml.ms.example.com", AZURE, False),
        ("https://evil-azureml.ms", AZURE, False),
        ("http://eastus.api.azureml.ms", AZURE, False),
        ("https://usgovarizona.api.ml.azure.us", "https://management.usgovcloudapi.net", True),
        ("https://127.0.0.1:5000", SANDBOX, True),
        ("https://127.0.0.1:5001", SANDBOX, False),
        ("https://eastus.api.azureml.ms", SANDBOX, False),
        ("", AZURE, False),
    ],
)
def test_a_token_is_sent_to_the_clouds_own_addresses_only(address: str, resource_manager: str, own: bool):
    """A sandbox's token never leaves the machine, whatever the environment variables are."""
    assert is_own_address(address, resource_manager) is own
