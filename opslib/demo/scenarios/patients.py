"""PineCare's repository: synthetic patients, the clinicians' validation set, and two models, from a seed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from opslib.demo.scenarios.models import save_model, write_lines
from opslib.demo.scenarios.people import enrol

SOURCES = Path(__file__).parent / "pinecare"
PEOPLE = ("clinical-safety@pinecare.example", "release-manager@pinecare.example")
SEED = 11
CASES = 300
"""Cases of the clinicians' validation set [count]."""

LEARNED = {"v1": 200, "v2": 3000}
"""Patients that each version learned from [count]."""

READABLE = {"approved_artifacts": 200, "patient_records": 403}
"""Statuses that the endpoint's identity must get: it reads the approved artifacts, and no patient's records."""

CLEAR = 1.0
"""Distance from every limit of the score beyond which clinicians agree on the urgency [points]."""

Patient = dict[str, Any]


def write_repository(folder: Path) -> None:
    """Write the endpoint's folder: definitions, policy, models, validation set, keys and client requests."""
    shutil.copytree(SOURCES, folder)
    rng = np.random.default_rng(SEED)
    history, urgency, _ = draw_patients(rng, 3000)
    for version, known in LEARNED.items():
        save_model(train(history[:known], urgency[:known]), folder / "models" / version)
    write_lines(folder / "access.jsonl", [{"request": {"check_access": True}, "answer": READABLE}])
    write_lines(folder / "clinicians.jsonl", clinicians_cases(rng))
    live, _, _ = draw_patients(rng, 2000)
    write_lines(folder / "live.jsonl", [{"patients": [one]} for one in live])
    enrol(folder, *PEOPLE)


def clinicians_cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the cases on whose urgency clinicians agree, each with their answer."""
    patients, urgency, clear = draw_patients(rng, 4 * CASES)
    agreed = [(p, u) for p, u, c in zip(patients, urgency, clear, strict=True) if c][:CASES]
    return [{"request": {"patients": [p]}, "answer": {"urgency": [str(u)]}} for p, u in agreed]


def draw_patients(rng: np.random.Generator, count: int) -> tuple[list[Patient], np.ndarray, np.ndarray]:
    """Draw patients, for each the urgency, and whether it is clear."""
    ill = rng.gamma(1.2, 1.0, count)
    pulse = rng.normal(78 + 12 * ill, 9)
    breaths = rng.normal(15 + 2.5 * ill, 2)
    oxygen = np.minimum(100, rng.normal(98 - 1.8 * ill, 1.2))
    pressure = rng.normal(128 - 7 * ill, 12)
    fever = rng.normal(36.8 + 0.35 * ill, 0.4)
    score = (
        np.maximum(0, pulse - 90) / 15
        + np.maximum(0, breaths - 18) / 3
        + np.maximum(0, 96 - oxygen) / 2
        + np.maximum(0, 110 - pressure) / 12
        + np.maximum(0, fever - 37.5)
    )
    urgency = np.select([score >= 6, score >= 2.5], ["urgent", "soon"], "routine")
    clear = np.minimum(abs(score - 6), abs(score - 2.5)) >= CLEAR
    columns = zip(pulse, breaths, oxygen, pressure, fever, strict=True)
    patients = [
        {
            "pulse_per_min": round(float(p)),
            "breaths_per_min": round(float(b)),
            "oxygen_percent": round(float(o), 1),
            "systolic_mmhg": round(float(s)),
            "temperature_c": round(float(f), 1),
        }
        for p, b, o, s, f in columns
    ]
    return patients, urgency, clear


def train(patients: list[Patient], urgency: np.ndarray) -> Any:
    """Fit one version on what was known at its time."""
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415 - only the demo needs it
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    return make_pipeline(DictVectorizer(sparse=False), StandardScaler(), LogisticRegression()).fit(
        patients, urgency
    )
