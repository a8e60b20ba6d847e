"""The scoring script of an MLflow model that is deployed without one.

Runs inside an instance, beside nothing of this package. Body and answer: MicrosoftDocs,
how-to-deploy-mlflow-models-online-endpoints.md (`input_data` as a list, or with columns, index and data).
Without MLflow in the environment a scikit-learn flavor is loaded by itself.
"""

import json
import os
import pickle
from pathlib import Path
from typing import Any

_model: Any = None


def init() -> None:
    """Load the model from the folder that holds MLmodel."""
    global _model  # noqa: PLW0603 - Azure ML's own idiom for what init() loads
    folder = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("MLmodel")).parent
    try:
        import mlflow  # type: ignore[import-not-found]  # noqa: PLC0415 - not in every environment

        _model = mlflow.pyfunc.load_model(str(folder))
    except ImportError:
        _model = _load_sklearn(folder)


def run(data: str) -> Any:
    """Predict for `input_data`."""
    sent = json.loads(data).get("input_data")
    if sent is None:
        raise ValueError("the request must have the key input_data")
    predicted = _model.predict(_table(sent))
    return predicted.tolist() if hasattr(predicted, "tolist") else list(predicted)


def _table(sent: Any) -> Any:
    if not isinstance(sent, dict) or "data" not in sent:
        return sent
    try:
        import pandas as pd  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:
        return sent["data"]
    return pd.DataFrame(sent["data"], columns=sent.get("columns"), index=sent.get("index"))


def _load_sklearn(folder: Path) -> Any:
    import yaml  # noqa: PLC0415 - only here

    flavors = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")).get("flavors", {})
    if "sklearn" not in flavors:
        raise RuntimeError(f"without MLflow only scikit-learn models can be loaded, not {sorted(flavors)}")
    with (folder / flavors["sklearn"]["pickled_model"]).open("rb") as file:
        return pickle.load(file)  # noqa: S301 - a model is a pickle that its owner uploaded
