"""Traffic maps: written and read back, compared as Azure routes by them."""

import pytest

from opslib.model.traffic import describe_traffic, read_traffic, same_traffic, write_traffic


def test_a_written_map_reads_back_without_its_zeros():
    """Tags hold the map; a weight of zero routes nothing."""
    assert read_traffic(write_traffic({"blue": 90, "green": 10, "red": 0})) == {"blue": 90, "green": 10}
    assert read_traffic(write_traffic({})) == {}


@pytest.mark.parametrize("text", ["blue", "blue=many", "blue=1=2"])
def test_text_that_is_no_traffic_map_is_refused(text):
    """Traffic is never restored from a guess."""
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        read_traffic(text)


def test_maps_that_route_alike_are_the_same():
    """Names ignore case and zero weights do not count."""
    assert same_traffic({"Blue": 100, "green": 0}, {"blue": 100})
    assert not same_traffic({"blue": 100}, {"blue": 90, "green": 10})


def test_a_map_that_was_not_recorded_is_unknown():
    """A damaged record shows as unknown, an endpoint without traffic as none."""
    assert describe_traffic({"blue": 90, "green": 10}) == "blue=90 green=10"
    assert describe_traffic({}) == "none"
    assert describe_traffic(None) == "unknown"
