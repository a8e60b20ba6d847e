"""Score insurance claims for fraud; one feature is the days to the report divided by the age of the policy.

This version fails on live traffic only: where a policy began on the day of the claim, its age is 0 days and the
division fails. No claim of the training data or the probes has such a policy.
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
        claim["report_ratio"] = claim["days_to_report"] / claim["policy_age_days"]
    return {"fraud": [round(float(p), 6) for p in model.predict_proba(claims)[:, 1]]}
