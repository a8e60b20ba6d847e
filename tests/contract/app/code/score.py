"""A scoring script that does what the request names, so that tests can cause failures."""

import json
import os
import time
from pathlib import Path


def init():
    global weight  # noqa: PLW0603 - Azure ML's own idiom for what init() loads
    if os.environ.get("BREAK_INIT"):
        message = "the model file is from another planet"
        raise RuntimeError(message)
    time.sleep(float(os.environ.get("INIT_S", "0")))
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    weight = json.loads(next(folder.rglob("weights.json")).read_text())["weight"]
    print("model loaded, weight", weight)


def run(data):
    request = json.loads(data)
    time.sleep(request.get("sleep_s", 0))
    if request.get("die"):
        os._exit(7)
    if request.get("fail"):
        message = "the model cannot score this"
        raise ValueError(message)
    if "env" in request:
        return {name: os.environ.get(name) for name in request["env"]}
    return {"weight": weight, "sum": sum(request.get("data", [])), "color": os.environ.get("COLOR", "")}
