"""One reading of a source: complete, or given up after the wait for late data; never both."""

from datetime import UTC, datetime, timedelta

import pytest

from opslib.model import Observation
from opslib.runbooks.steps.observe import read_source


class Source:
    """Is complete up to a time."""

    name = "request log"

    def __init__(self, watermark: datetime) -> None:
        self.watermark = watermark

    def observe(self, since: datetime, until: datetime, _thresholds_ms: object = ()) -> Observation:
        return Observation(self.name, since, until, watermark=self.watermark, total={})


@pytest.mark.parametrize("late_data_s", [0.0, 30.0, 600.0])
def test_what_was_shown_whole_was_not_waited_for_in_vain(late_data_s: float):
    """However late the reading itself is: a stage without data is not extended."""
    end = datetime.now(UTC) - timedelta(minutes=20)
    seen = read_source(Source(end), end - timedelta(minutes=10), end, late_data_s, settle_s=120.0)  # type: ignore[arg-type]
    assert seen.over
    assert not seen.waited_out


def test_what_was_not_shown_is_waited_for_so_long():
    """Then the stage is over, without data."""
    end = datetime.now(UTC) - timedelta(minutes=5)
    source = Source(end - timedelta(seconds=1))
    assert not read_source(source, end - timedelta(minutes=10), end, 600.0).over  # type: ignore[arg-type]
    assert read_source(source, end - timedelta(minutes=10), end, 60.0).waited_out  # type: ignore[arg-type]
