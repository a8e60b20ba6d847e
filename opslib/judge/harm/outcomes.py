"""Yes/no business outcomes by exposure cohort, paired probes and changed answers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opslib.judge.harm.tables import log_e_share, log_e_two_by_two
from opslib.judge.values.interval import Arm, Interval
from opslib.judge.values.metrics import Answers, BusinessOutcome

Floats = NDArray[np.float64]


def settled_cohorts(cohorts: Sequence[Interval], *, now_s: float, window_s: float) -> tuple[Interval, ...]:
    """Keep the cohorts whose outcomes can no longer change.

    A cohort is all requests of one interval, whenever their outcomes arrive: counting outcomes by the time at which
    they arrive would compare requests before the canary with requests after it.

    Parameters
    ----------
    cohorts
        Intervals whose arms carry `outcomes`.
    now_s
        Time up to which outcomes are known, seconds since 1970-01-01 UTC [seconds].
    window_s
        Time within which an outcome may still follow its request [seconds].
    """
    return tuple(cohort for cohort in cohorts if cohort.end_s + window_s <= now_s)


def table(metric: BusinessOutcome, arm: Arm) -> tuple[int, int] | None:
    """Return (bad, trials) of one outcome in one cohort; None without data [count]."""
    return next(((bad, trials) for name, trials, bad in arm.outcomes if name == metric.name), None)


def log_e_value(metric: BusinessOutcome, cohort: Interval) -> Floats | None:
    """Return the log e-values of one settled cohort; shape (odds,). None without data."""
    mine, other = table(metric, cohort.canary), table(metric, cohort.stable)
    if mine is None or other is None:
        return None
    return log_e_two_by_two(*mine, *other, metric.odds, metric.tolerated_odds)


def log_e_paired(only_canary: int, only_stable: int, odds: Sequence[float], tolerated: float) -> Floats:
    """Return the log e-values of paired probes: one request to both versions in random order, of which one failed.

    Each discordant pair is a 2x2 table of its own with one request per arm: the canary is the one that failed with
    probability w / (1 + w). Concordant pairs are no evidence. (Exact conditional form of McNemar's test.)
    """
    w, w0 = np.asarray(odds, dtype=np.float64), tolerated
    pairs = only_canary + only_stable
    return np.asarray(only_canary * np.log(w / w0) + pairs * (np.log1p(w0) - np.log1p(w)))


def log_e_answers(metric: Answers, arm: Arm) -> Floats | None:
    """Return the log e-values of answers that differ from stable's, against the allowed share; None without any."""
    sent, changed = arm.changed_answers
    if sent == 0:
        return None
    shares = np.minimum(np.asarray(metric.times) * metric.allowed, 0.95)
    return log_e_share(changed, sent, shares, metric.allowed)
