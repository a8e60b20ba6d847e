"""Each peer's rule, checked against facts that its own project publishes as tests or reports."""

import numpy as np
import pytest
import scipy

from .hours import hourly, order_statistics, quantile
from .kayenta import kayenta_classify
from .peers import (
    alarm,
    argo_errors_phase,
    argo_phase,
    flagger_ticks,
    per_minute,
    sequential_half_width,
)
from .static import Threshold
from .traffic import REPORTED, SCENARIOS, simulate

# Data of Kayenta's ClassifierSuite, to four digits.
NINE = [
    9.777, 10.59, 7.838, 9.324, 8.377, 8.936, 8.271, 9.748, 11.62, 9.275, 8.154, 10.56, 13.50, 11.05, 6.954,
    12.52, 9.022, 4.923, 11.25, 11.60, 8.435, 11.11, 10.70, 8.921, 10.09, 11.42, 9.379, 7.798, 10.62, 11.91,
]  # fmt: skip
TEN = [
    11.15, 9.962, 7.069, 7.301, 9.794, 9.604, 6.187, 12.35, 10.37, 8.609, 9.913, 10.36, 14.21, 10.95, 10.22,
    11.74, 10.91, 12.82, 8.102, 8.498, 12.11, 13.27, 10.11, 6.946, 6.211, 10.16, 8.346, 8.384, 7.002, 10.76,
]  # fmt: skip
TWENTY = [
    20.88, 21.79, 19.71, 15.86, 19.51, 19.39, 22.93, 17.16, 18.66, 23.42, 24.06, 22.63, 21.98, 21.66, 20.07,
    22.12, 16.44, 21.56, 21.00, 17.78, 17.81, 18.54, 20.56, 19.55, 21.77, 21.81, 20.96, 20.98, 19.11, 16.98,
]  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "control", "direction", "label"),
    [
        (NINE, TEN, "either", "Pass"),
        (TWENTY, TEN, "either", "High"),
        (NINE, TWENTY, "either", "Low"),
        (NINE, TWENTY, "increase", "Pass"),
        (TWENTY, TEN, "decrease", "Pass"),
        (TWENTY, TEN, "increase", "High"),
        (NINE, TWENTY, "decrease", "Low"),
    ],
)
def test_kayentas_own_cases(experiment, control, direction, label):
    """The seven labels of Kayenta's Mann-Whitney cases come out, at its test's tolerance and confidence."""
    arrays = np.array([experiment]), np.array([control])
    assert kayenta_classify(*arrays, tolerance=0.10, confidence=0.95, direction=direction)[0] == label


# Requests in the minutes in which one of them failed, of its case with a large input: 210 and 209 minutes.
FAILED_OF = [
    60, 27, 64, 30, 57, 54, 54, 66, 56, 75, 32, 51, 69, 41, 61, 62, 51, 63, 35.5, 33, 29.5, 81, 58, 59, 68, 73, 31,
    57, 29, 30, 55, 70, 53, 50, 33.5, 60, 64, 52, 54, 37, 74, 55, 60, 55, 70, 24.333, 54, 54, 72, 53, 70, 64, 53,
    49, 55, 61, 58, 66, 39, 18, 24.5, 28, 49, 31.5,
]  # fmt: skip
OLD_FAILED_OF = [64, 72, 65, 67, 59, 68, 57, 54, 61, 58, 63, 67, 32, 67, 33.5, 40, 56]


@pytest.mark.parametrize(
    ("experiment", "control", "direction", "label"),
    [
        (
            [0.0] * 146 + [100 / n for n in FAILED_OF],
            [0.0] * 192 + [100 / n for n in OLD_FAILED_OF],
            "either",
            "High",
        ),
        ([1.0, 1.0, 1.0], [1.0, 1.0], "decrease", "Pass"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0], "decrease", "Pass"),
        ([0.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 5, "decrease", "Pass"),
    ],
)
def test_kayentas_cases_with_ties(experiment, control, direction, label):
    """Sparse failures come out as in Kayenta: the bound lies at a jump, where its root finder decides."""
    arrays = np.array([experiment]), np.array([control])
    assert kayenta_classify(*arrays, tolerance=0.10, confidence=0.95, direction=direction)[0] == label


def test_kayenta_interval_is_scipys_order_statistics():
    """Zero lies outside the interval exactly where the Mann-Whitney p-value is below 2 %."""
    rng = np.random.Generator(np.random.SFC64(2))
    agreed = 0
    for _ in range(100):
        x, y = rng.normal(0.8, 1, (1, 15)), rng.normal(0, 1, (1, 15))
        p = scipy.stats.mannwhitneyu(x[0], y[0], method="asymptotic").pvalue
        high = kayenta_classify(x, y, tolerance=0.0, direction="either")[0] != "Pass"
        agreed += high == (p < 0.02)
    assert agreed >= 98


def test_growthbooks_own_case():
    """The one-sided sequential bound of GrowthBook's test case comes out to every digit given."""
    deviation = 0.12983081254184736 * np.sqrt(6461)
    assert 0.23437666666666668 - sequential_half_width(deviation, 6461) == pytest.approx(
        -0.12656844172804982, abs=1e-12
    )


def test_argos_own_cases():
    """One failure exceeds the default limit; five errors in a row are an error, four, stopped, a success."""
    assert argo_phase(1) == "Failed"
    assert [argo_phase(failed, 3) for failed in (3, 4)] == ["Running", "Failed"]
    assert argo_errors_phase(5, terminating=True) == argo_errors_phase(5) == "Error"
    assert argo_errors_phase(4, terminating=True) == "Successful"
    assert argo_errors_phase(4) == "Running"


def test_flaggers_own_case():
    """With failed checks at the threshold the next tick rolls back: a failing canary takes threshold + 1."""
    failing = np.ones((1, 12), dtype=bool)
    assert flagger_ticks(failing, 10)[0].argmax() == 10
    assert not flagger_ticks(~failing, 1).any()


def test_alarm_needs_its_datapoints():
    """A CloudWatch alarm with 3 of 3 datapoints goes off at the third breach in a row and not before."""
    breaching = np.array([[1, 1, 0, 1, 1, 1, 0]], dtype=bool)
    assert alarm(breaching, 3, 3).tolist() == [[False, False, False, False, False, True, False]]
    assert alarm(breaching, 1, 1)[0].tolist() == breaching[0].tolist()


@pytest.mark.parametrize("name", ["A/A 0.1 %", "bimodal", "heavy tail"])
def test_points_drawn_are_those_of_requests(name):
    """Kayenta's three hours draw percentiles directly: their law is that of percentiles of simulated requests."""
    scenario = next(each for each in SCENARIOS if each.name == name)
    traffic = simulate(scenario, 600, 100, 5)
    good = per_minute(traffic.n["control"]) - per_minute(traffic.failures["control"])
    rng = np.random.Generator(np.random.SFC64(6))
    for level, drawn in zip((0.95, 0.99), order_statistics(rng, good), strict=True):
        seen = traffic.percentiles["control"][..., REPORTED.index(level)]
        difference = np.log(quantile(scenario.shape, drawn)) - np.log(seen)
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(difference.size)


def test_kayenta_finds_in_an_hour_what_half_an_hour_hides():
    """At its documented times nearly every rise of failures is found, at the first of three looks."""
    scenario = next(each for each in SCENARIOS if each.name == "1 -> 3 %")
    result, bad = hourly(scenario, 600, 40, 7)
    assert np.median(result.minute) == 60
    assert np.mean(result.outcome == "rollback") > 0.9
    assert bad[:, -1].mean() == pytest.approx(0.03 * 60 * 180, rel=0.1)


def test_thresholds_forgive_and_average():
    """A threshold looks at means of its window and fails at the first breach that it does not forgive."""
    values = np.array([[0.0, 4.0, 0.0, 4.0, 4.0, 0.0]])
    assert Threshold(window=1, forgiven=1, most=3.0).failing(values)[0].tolist() == [False] * 3 + [True] * 3
    assert Threshold(window=2, forgiven=0, most=3.0).failing(values)[0].tolist() == [False] * 4 + [True] * 2
