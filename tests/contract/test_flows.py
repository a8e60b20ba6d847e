"""Microsoft's published flows, call for call, rewritten: what a foreign notebook does."""

from __future__ import annotations

import pytest
import sdk
from azure.core.exceptions import ResourceNotFoundError
from sandbox_fixture import RunningSandbox
from served import ASK, deployment

SIZE = "Standard_E2s_v3"  # a family of its own: the suite shares its quota


def test_a_safe_rollout(ml: sdk.MLClient, sandbox: RunningSandbox):
    """Blue, scale out, green beside it, a look at green alone, mirror, a tenth, all of it, blue away."""
    name = "rollout"
    endpoint = sdk.ManagedOnlineEndpoint(
        name=name, description="fraud", auth_mode="key", tags={"training": "sklearn"}
    )
    endpoint = ml.online_endpoints.begin_create_or_update(endpoint).result()
    ml.online_deployments.begin_create_or_update(deployment("blue", name, instance_type=SIZE)).result()
    endpoint.traffic = {"blue": 100}
    ml.online_endpoints.begin_create_or_update(endpoint).result()

    blue = ml.online_deployments.get(name="blue", endpoint_name=name)
    blue.instance_count = 2
    scaled = ml.online_deployments.begin_create_or_update(blue).result()
    assert scaled.instance_count == 2

    ml.online_deployments.begin_create_or_update(deployment("green", name, instance_type=SIZE)).result()
    endpoint = ml.online_endpoints.get(name)
    assert endpoint.traffic == {"blue": 100, "green": 0}
    with sandbox.http(
        headers={"Authorization": f"Bearer {ml.online_endpoints.get_keys(name).primary_key}"}
    ) as client:

        def colors(count: int, **headers: str) -> set[str]:
            return {
                client.post(endpoint.scoring_uri, json=ASK, headers=headers).json()["color"] for _ in range(count)
            }

        assert colors(3, **{"azureml-model-deployment": "green"}) == {"green"}
        for traffic, mirror, seen in (
            ({"blue": 100}, {"green": 10}, {"blue"}),
            ({"blue": 50, "green": 50}, {}, {"blue", "green"}),
            ({"blue": 0, "green": 100}, {}, {"green"}),
        ):
            endpoint.traffic, endpoint.mirror_traffic = traffic, mirror
            ml.online_endpoints.begin_create_or_update(endpoint).result()
            assert colors(30) == seen
    assert "model loaded" in ml.online_deployments.get_logs(name="green", endpoint_name=name, lines=1000)
    ml.online_deployments.begin_delete(name="blue", endpoint_name=name).result()
    ml.online_endpoints.begin_delete(name=name).result()
    with pytest.raises(ResourceNotFoundError):
        ml.online_endpoints.get(name)
