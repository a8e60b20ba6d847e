"""Costs as people read them."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from opslib.model import CostChange, EndpointCost, Overlap, PriceList

_CENT = Decimal("0.01")


def money(amount: Decimal | None) -> str:
    """Return an amount with two places; a smaller one than a cent with four.

    Examples
    --------
    >>> money(Decimal("213.885")), money(Decimal("1234.5")), money(Decimal("0.0049")), money(None)
    ('213.89', '1,234.50', '0.0049', 'unknown')
    """
    if amount is None:
        return "unknown"
    if 0 < abs(amount) < _CENT:
        return f"{amount.quantize(Decimal('0.0001'), ROUND_HALF_UP)}"
    return f"{amount.quantize(_CENT, ROUND_HALF_UP):,}"


def monthly(cost: EndpointCost) -> str:
    """Return an endpoint's cost per month; "at least" where a deployment has no price, "unknown" where none has."""
    if not cost.unpriced:
        return money(cost.per_month)
    return f"at least {money(cost.per_month)}" if cost.per_hour else "unknown"


def describe_change(change: CostChange) -> str:
    """Describe the cost before, during and after a change."""
    states = (("before", change.before), ("during", change.during), ("after", change.after))
    amounts = ", ".join(f"{name} {monthly(cost)}" for name, cost in states)
    saved = change.before.per_month - change.after.per_month
    difference = f"; {money(saved)} saved per month" if saved > 0 and not change.unpriced else ""
    overlap = f"; {describe_overlap(change.overlap, change.prices.currency)}" if change.overlap else ""
    return f"{amounts} {change.prices.currency} per month of 730 h{difference}{overlap}"


def describe_overlap(overlap: Overlap, currency: str) -> str:
    """Describe what the time costs for which two versions run at once."""
    hours = f"{overlap.planned_s / 3600:.2g} h planned, {overlap.longest_s / 3600:.2g} h at most"
    if overlap.per_hour is None:
        return f"{overlap.deployment} runs beside the others for {hours}; its price is unknown"
    amounts = f"{money(overlap.planned)} to {money(overlap.longest)} {currency}"
    return f"{overlap.deployment} costs {amounts} while both versions run ({hours})"


def describe_prices(prices: PriceList) -> str:
    """Describe where the prices are from, since when they apply, and which are missing for what reason."""
    dates = sorted({price.since[:10] for price in prices.prices.values()})
    since = f", in force since {_join(dates)}" if dates else ""
    missing = "".join(f"; none of {name}: {why}" for name, why in prices.missing.items())
    read = f"read {prices.read_at:%Y-%m-%d %H:%M} UTC"
    return f"List prices in {prices.region} from {prices.source}, {read}{since}{missing}"


def _join(dates: Iterable[str]) -> str:
    first, *others = dates
    return f"{first} to {others[-1]}" if others else first
