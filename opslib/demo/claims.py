"""HarborShield's repository: synthetic insurance claims and three versions of its model, from a fixed seed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = Path(__file__).parent / "harborshield"
SEED = 7
SAME_DAY = 0.12
"""Share of live claims on a policy that began the same day [fraction]."""

Claim = dict[str, Any]


def write_repository(folder: Path) -> None:
    """Write HarborShield's repository: definitions, trained models, probes and client requests.

    Parameters
    ----------
    folder
        A new folder. It receives ``blue.yml``, ``green.yml``, ``amber.yml``, ``models/v1..v3``,
        ``probes-v1..v3.jsonl`` and ``live.jsonl``.
    """
    shutil.copytree(SOURCES, folder)
    rng = np.random.default_rng(SEED)
    history, fraud = draw_claims(rng, 4000, same_day=0.0)
    probes, _ = draw_claims(rng, 20, same_day=0.0)
    for version, with_ratio in (("v1", False), ("v2", False), ("v3", True)):
        training, inputs = (_add_ratio(claims) if with_ratio else claims for claims in (history, probes))
        model = train(version, training, fraud)
        _save(model, folder / "models" / version)
        answers = [{"fraud": [round(float(p), 6)]} for p in model.predict_proba(inputs)[:, 1]]
        _write_lines(
            folder / f"probes-{version}.jsonl",
            [{"request": {"claims": [c]}, "answer": a} for c, a in zip(probes, answers, strict=True)],
        )
    live, _ = draw_claims(rng, 2000, same_day=SAME_DAY)
    _write_lines(folder / "live.jsonl", [{"claims": [claim]} for claim in live])


def draw_claims(rng: np.random.Generator, count: int, same_day: float) -> tuple[list[Claim], np.ndarray]:
    """Draw claims, and for each whether it is fraud; `same_day` is the share with a policy of age 0 [fraction]."""
    amount = rng.lognormal(8, 1, count)
    age = np.where(rng.random(count) < same_day, 0, rng.integers(1, 3650, count))
    days = rng.integers(0, 60, count)
    prior = rng.poisson(0.4, count)
    channel = rng.choice(["web", "phone", "agent", "broker"], count)
    score = (
        -4 + 0.4 * np.log(amount / 3000) + 1.2 * (age < 90) + 0.03 * days + 0.7 * prior + 0.5 * (channel == "web")
    )
    fraud = rng.random(count) < 1 / (1 + np.exp(-score))
    claims = [
        {
            "amount": round(float(a), 2),
            "policy_age_days": int(g),
            "days_to_report": int(d),
            "prior_claims": int(p),
            "channel": str(c),
        }
        for a, g, d, p, c in zip(amount, age, days, prior, channel, strict=True)
    ]
    return claims, fraud


def train(version: str, claims: list[Claim], fraud: np.ndarray) -> Any:
    """Fit one version: v1 is a linear model, v2 and v3 are boosted trees."""
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 - only the demo needs it
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    if version == "v1":
        steps: tuple[Any, ...] = (StandardScaler(), LogisticRegression())
    else:
        steps = (GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=SEED),)
    return make_pipeline(DictVectorizer(sparse=False), *steps).fit(claims, fraud)


def _add_ratio(claims: list[Claim]) -> list[Claim]:
    """Add the feature of v3; it divides by the policy's age, which is 0 in some live claims."""
    return [claim | {"report_ratio": claim["days_to_report"] / claim["policy_age_days"]} for claim in claims]


def _save(model: Any, folder: Path) -> None:
    import joblib  # noqa: PLC0415 - comes with scikit-learn

    folder.mkdir(parents=True)
    joblib.dump(model, folder / "model.joblib")


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
