from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import sdk
from served import Served


def test_an_mlflow_model_needs_no_code(make_endpoint: Callable[..., Served], ml: sdk.MLClient, tmp_path: Path):
    """A model of type mlflow_model is served without scoring script and environment."""
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415 - slow to import

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    (folder / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])))
    served = make_endpoint("mlflow")
    made = sdk.ManagedOnlineDeployment(
        name="blue",
        endpoint_name=served.name,
        model=sdk.Model(path=folder, type="mlflow_model"),
        instance_type="Standard_E2s_v3",
        instance_count=1,
    )
    ml.online_deployments.begin_create_or_update(made).result(timeout=60)
    served.set_traffic({"blue": 100})
    answer = served.score({"input_data": [[3.0]]})
    assert answer.status_code == 200, answer.text
    assert abs(answer.json()[0] - 6.0) < 1e-9
    assert served.score({"data": 1}).status_code == 424
