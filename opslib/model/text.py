"""Numbers as people read them: shares with their counts, and e-values."""

import math


def percent(share: float) -> str:
    """Return a share as a percentage: two digits, three from 10 % on."""
    value = 100.0 * share
    return f"{value:.3g} %" if value >= 10 else f"{value:.2g} %"


def k_of_n(bad: float, n: float) -> str:
    """Return counts, and their share unless it is none: "5 of 73 (6.8 %)", "0 of 705"."""
    share = f" ({percent(bad / n)})" if bad and n else ""
    return f"{bad:,.0f} of {n:,.0f}{share}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 endpoint", "1,200 endpoints"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bounded_share(counts: tuple[float, float], what: str, upper: float | None, limit: float) -> str:
    """Return counts with bound and limit: "3 of 90 requests failed (3.3 %, upper bound 8.6 %, limit 5 %)"."""
    bad, n = counts
    share = f"{percent(bad / n)}, " if bad and n else ""
    bound = "no upper bound" if upper is None else f"upper bound {percent(upper)}"
    return f"{bad:,.0f} of {n:,.0f} {what} ({share}{bound}, limit {percent(limit)})"


def e_value(log_value: float) -> str:
    """Return an e-value from its logarithm: "0.81", "42", "over 1,000,000"."""
    if log_value > math.log(1e6):
        return "over 1,000,000"
    value = math.exp(log_value)
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
