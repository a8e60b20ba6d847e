"""Recommend the three categories that a shopper is most likely to buy from."""

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


def run(body: str) -> dict[str, list[list[str]]]:
    """Return three categories for each shopper, the likeliest first."""
    shares = model.predict_proba(json.loads(body)["shoppers"])
    return {"categories": [[str(model.classes_[n]) for n in row.argsort()[::-1][:3]] for row in shares]}
