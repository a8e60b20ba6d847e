"""Rate how soon an emergency patient must be seen, from vital signs."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import joblib

STORAGE = "https://storage.azure.com/"

model: Any = None


def init() -> None:
    """Load the model that Azure ML mounted."""
    global model  # noqa: PLW0603 - the inference server's own interface
    model = joblib.load(next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("model.joblib")))


def run(body: str) -> dict[str, Any]:
    """Return the urgency of each patient; for `check_access`, what the endpoint's identity can read."""
    request = json.loads(body)
    if request.get("check_access"):
        names = ("APPROVED_ARTIFACTS", "PATIENT_RECORDS")
        return {name.lower(): status_of_listing(os.environ[name]) for name in names}
    return {"urgency": [str(one) for one in model.predict(request["patients"])]}


def status_of_listing(container: str) -> int:
    """Return the status that the managed identity gets for a listing of a blob container."""
    url = f"{container}?restype=container&comp=list&maxresults=1"
    headers = {"Authorization": f"Bearer {token()}", "x-ms-version": "2023-11-03"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token() -> str:
    """Return a token of the endpoint's managed identity for Azure Storage."""
    address = f"{os.environ['IDENTITY_ENDPOINT']}?resource={STORAGE}&api-version=2019-08-01"
    headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["access_token"])
