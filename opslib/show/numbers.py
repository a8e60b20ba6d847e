"""Latencies and times as people read them; shares and e-values are written by `opslib.model.text`."""


def milliseconds(value: float | None) -> str:
    """Return a latency; `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:,.1f} ms" if value < 10 else f"{value:,.0f} ms"


def seconds(value: float) -> str:
    """Return a time: ``45 s``, ``12 min 5 s``."""
    whole = round(value)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def minutes(value: float | None) -> str:
    """Return a time in minutes; empty where it does not apply."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value < 1440 else "over a day"
