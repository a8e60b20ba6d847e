"""The values that pass from stage to stage."""

import doctest

from opslib.model import endpoint


def test_asset_names_are_as_documented():
    """One asset has one short name, in every place that shows it."""
    done = doctest.testmod(endpoint)
    assert done.attempted >= 4
    assert done.failed == 0
