"""Numbers as a person reads them: with their denominator, their unit, and no digits that mean nothing."""

from math import exp, log


def share(bad: int, n: int) -> str:
    """Write a count with its denominator: ``5 of 73 (6.8 %)``."""
    return f"{bad:,} of {n:,} ({percent(bad / n)})" if n else "no requests"


def percent(fraction: float) -> str:
    """Write a fraction as a percentage of two digits."""
    value = 100 * fraction
    return "0 %" if value == 0 else f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


def milliseconds(value: float | None) -> str:
    """Write a latency; `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:,.1f} ms" if value < 10 else f"{value:,.0f} ms"


def seconds(value: float) -> str:
    """Write a time: ``45 s``, ``12 min 5 s``."""
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def e_value(log_e_value: float) -> str:
    """Write an e-value, given as its natural logarithm."""
    if log_e_value > log(1e6):
        return "over 1,000,000"
    value = exp(log_e_value)
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def minutes(value: float | None) -> str:
    """Write a time in minutes; empty where it does not apply."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value < 1440 else "over a day"
