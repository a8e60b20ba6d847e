"""Bounds on a rate that hold at every moment at once, for the plot."""

import math
from functools import lru_cache


@lru_cache(maxsize=4096)
def rate_bounds(bad: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Bound a rate so that the bounds of all moments hold together with probability 1 - alpha.

    Parameters
    ----------
    bad, n
        Bad requests and all requests so far; 0 <= bad <= n [count].
    alpha
        Probability that a bound is ever wrong; in (0, 1) [fraction].

    Returns
    -------
    low, high
        0 <= low <= bad / n <= high <= 1; (0, 1) without requests [fraction].

    Notes
    -----
    Rates p at which the Jeffreys-mixture likelihood ratio B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) / (p^k (1 - p)^(n
    - k)) stays below 1 / alpha (Robbins 1970, Ann. Math. Stat. 41:1397-1409; Howard, Ramdas, McAuliffe & Sekhon
    2021, Ann. Stat. 49:1055-1080). For a rate that is constant in time; it describes the plot and decides
    nothing.
    """
    if n == 0:
        return 0.0, 1.0
    mixture = _log_beta(bad + 0.5, n - bad + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)
    centre = bad / n
    return _edge(bad, n, mixture, 0.0, centre), _edge(bad, n, mixture, 1.0, centre)


def _edge(bad: int, n: int, level: float, outside: float, inside: float) -> float:
    for _ in range(60):
        middle = (outside + inside) / 2.0
        if _log_likelihood(bad, n, middle) < level:
            outside = middle
        else:
            inside = middle
    return inside if abs(outside - inside) > 1e-15 else outside


def _log_likelihood(bad: int, n: int, rate: float) -> float:
    left = bad * math.log(rate) if bad else 0.0
    right = (n - bad) * math.log1p(-rate) if n > bad else 0.0
    return left + right


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
