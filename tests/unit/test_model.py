"""The values that pass from stage to stage."""

import doctest

import pytest

from opslib.model import endpoint, traffic


@pytest.mark.parametrize(("module", "examples"), [(endpoint, 4), (traffic, 3)])
def test_names_and_traffic_read_as_documented(module, examples):
    """One asset has one short name, and one traffic map one text, in every place that shows it."""
    done = doctest.testmod(module)
    assert done.attempted >= examples
    assert done.failed == 0
