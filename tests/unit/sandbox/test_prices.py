from opslib.sandbox.core import skus
from opslib.sandbox.endpoints import prices


def test_every_size_has_a_price_and_nothing_else():
    """What can be deployed can be quoted, and a bigger sister of a family never costs less."""
    assert set(prices.USD_PER_HOUR) == {sku.name for sku in skus.SKUS.values()}
    for family in skus.families():
        sisters = sorted((sku for sku in skus.SKUS.values() if sku.family == family), key=lambda sku: sku.cores)
        costs = [prices.USD_PER_HOUR[sku.name] for sku in sisters]
        assert costs == sorted(costs)
        per_core = [cost / sku.cores for cost, sku in zip(costs, sisters, strict=True)]
        assert max(per_core) < 1.25 * min(per_core)
