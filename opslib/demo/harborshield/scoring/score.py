"""Score insurance claims for fraud."""

import json
import os
from pathlib import Path
from typing import Any

import joblib

model: Any = None


def init() -> None:
    """Load the model that Azure ML mounted."""
    global model  # noqa: PLW0603 - the inference server's own interface
    model = joblib.load(next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("model.joblib")))


def run(body: str) -> dict[str, list[float]]:
    """Return the probability of fraud of each claim."""
    claims = json.loads(body)["claims"]
    return {"fraud": [round(float(p), 6) for p in model.predict_proba(claims)[:, 1]]}
