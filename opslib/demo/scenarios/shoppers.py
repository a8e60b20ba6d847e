"""UrbanCart's repository: synthetic shoppers, what they buy, and four versions of its model, from a fixed seed."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from opslib.demo.scenarios.models import save_model, write_lines

SOURCES = Path(__file__).parent / "urbancart"
SEED = 23
CATEGORIES = ("books", "garden", "kitchen", "music", "sport", "toys", "travel", "wine")
FEATURES = 12
LEARNED = {"v1": 40, "v2": 2000, "v3": 2500, "v4": 3000}
"""Shoppers that each version learned from [count]."""

SERVES = {"blue": "v1", "large": "v2", "green": "v2", "amber": "v3", "violet": "v4"}
"""The version of each deployment."""

BUYS = 0.5
"""Share of the shoppers who buy, of those who are shown what they look for [fraction]."""

OUTCOMES, RATES = "outcomes.jsonl", "purchase-rates.json"
POLL_S = 0.25


def write_repository(folder: Path) -> None:
    """Write the endpoint's folder: definitions, policy, models, requests, and how often shoppers buy."""
    shutil.copytree(SOURCES, folder)
    rng = np.random.default_rng(SEED)
    taste = rng.normal(size=(FEATURES, len(CATEGORIES)))
    shoppers, wanted = draw_shoppers(rng, taste, max(LEARNED.values()))
    held_out, looked_for = draw_shoppers(rng, taste, 2000)
    hits = {}
    for version, known in LEARNED.items():
        model = train(shoppers[:known], wanted[:known])
        save_model(model, folder / "models" / version)
        hits[version] = hit_rate(model, held_out, looked_for)
    rates = {deployment: BUYS * hits[version] for deployment, version in SERVES.items()}
    (folder / RATES).write_text(json.dumps(rates, indent=2) + "\n")
    write_lines(folder / "live.jsonl", [{"shoppers": [one]} for one in held_out.round(2).tolist()])
    write_lines(
        folder / "load.jsonl", [{"request": {"shoppers": [one]}} for one in held_out[:50].round(2).tolist()]
    )
    (folder / OUTCOMES).touch()


def draw_shoppers(rng: np.random.Generator, taste: Any, count: int) -> tuple[Any, Any]:
    """Draw what is known of shoppers, and the category that each looks for."""
    known = rng.normal(size=(count, FEATURES))
    wish = known @ taste + rng.gumbel(size=(count, len(CATEGORIES)))
    return known, np.array(CATEGORIES)[wish.argmax(axis=1)]


def train(shoppers: Any, wanted: Any) -> Any:
    """Fit one version on what was known at its time."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - only the demo needs it

    return LogisticRegression().fit(shoppers, wanted)


def hit_rate(model: Any, shoppers: Any, wanted: Any) -> float:
    """Return the share of shoppers for whom what they look for is among the three categories shown."""
    shown = model.classes_[np.argsort(model.predict_proba(shoppers), axis=1)[:, -3:]]
    return round(float((shown == wanted[:, None]).any(axis=1).mean()), 4)


@contextmanager
def purchases(folder: Path, report: Path) -> Iterator[None]:
    """Append to the outcomes file, for each answered request, whether its shopper bought nothing.

    The sandbox has no shoppers. Whether one buys is drawn from the request's id, with the probability that the
    model of the deployment that answered had on held-out shoppers.
    """
    rates, done = json.loads((folder / RATES).read_text()), Event()
    shop = Thread(target=_follow, args=(report, folder / OUTCOMES, rates, done), daemon=True)
    shop.start()
    try:
        yield
    finally:
        done.set()
        shop.join()


def _follow(report: Path, outcomes: Path, rates: Mapping[str, float], done: Event) -> None:
    offset = 0
    while not done.wait(POLL_S):
        if not report.exists():
            continue
        with report.open("rb") as file:
            file.seek(offset)
            *complete, _ = file.read().split(b"\n")
        offset += sum(len(line) + 1 for line in complete)
        with outcomes.open("a") as file:
            file.writelines(
                json.dumps(one) + "\n" for line in complete for one in _outcome(json.loads(line), rates)
            )


def _outcome(request: Mapping[str, Any], rates: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    if request["status"] == 200:
        bought = _share(request["client_request_id"]) < rates[request["deployment"]]
        yield {"request_id": request["client_request_id"], "outcome": "no_purchase", "bad": not bought}


def _share(request_id: str) -> float:
    """Return a number from 0 to 1, the same for the same id."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:4]) / 2**32
