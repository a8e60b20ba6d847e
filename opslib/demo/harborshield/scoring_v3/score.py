"""Score insurance claims for fraud, with how soon after the policy's start the claim came.

This version is broken in a way that only live traffic shows: a policy that began on the day of the claim has an age
of 0 days. No claim that anybody tested with was that young.
"""

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
    for claim in claims:
        claim["haste"] = claim["days_to_report"] / claim["policy_age_days"]
    return {"fraud": [round(float(p), 6) for p in model.predict_proba(claims)[:, 1]]}
