"""Metrics of many deployments and status codes: Azure Monitor leaves series out unless all are requested."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from stand_in import ENDPOINT, StandIn
from starlette.requests import Request
from starlette.responses import JSONResponse

from opslib.azure.platform_metrics import PlatformMetrics
from opslib.azure.request_counts import read_requests
from opslib.errors import ObserveError
from opslib.model import Endpoint, Served

SINCE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
UNTIL = SINCE + timedelta(minutes=1)
CODES = ("200", "400", "401", "404", "408", "424", "429", "503")


def offer(stand_in: StandIn, series: Sequence[Mapping[str, str]], average: float = 1.0) -> None:
    """Have the stand-in give series with one value each, cut as Azure cuts: by `top`, which is 10 by default."""
    rows = [
        {
            "metadatavalues": [{"name": {"value": name.lower()}, "value": value} for name, value in labels.items()],
            "data": [{"timeStamp": "2026-03-02T08:00:00Z", "average": average}],
        }
        for labels in series
    ]

    def answer(request: Request) -> JSONResponse:
        return JSONResponse({"value": [{"timeseries": rows[: int(request.query_params.get("top", 10))]}]})

    stand_in.azure.answer = answer


def test_every_status_code_of_both_versions_is_counted(stand_in: StandIn):
    """The failures of a canary are read, however many status codes there are; Azure's default is 10 series."""
    offer(stand_in, [{"deployment": name, "statusCode": code} for code, name in product(CODES, ("blue", "green"))])
    seen = PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL)
    green = seen.total["green"]
    assert (green.requests, green.failures) == (8, 4)  # 408, 424, 429, 503


def test_series_that_may_be_cut_are_not_judged(stand_in: StandIn):
    """As many series as were requested may be a part of all of them: no failure of them may be missed."""
    offer(stand_in, [{"deployment": f"d{n}", "statusCode": "200"} for n in range(1000)])
    with pytest.raises(ObserveError, match="RequestsPerMinute has 1000 series or more"):
        PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL)


def test_requests_of_many_deployments_are_counted(stand_in: StandIn):
    """None passes for one that answered nothing, also where more than 20 were there in turn."""
    offer(stand_in, [{"deployment": f"d{n}"} for n in range(25)])
    endpoint = Endpoint("fraud", "Succeeded", "Key", "", {}, {}, {}, (), {"id": ENDPOINT})
    counts = read_requests(stand_in.workspace().arm, endpoint, SINCE, UNTIL)
    assert counts == {f"d{n}": 1 for n in range(25)}


@pytest.mark.parametrize(("average", "count"), [(0.0, 0), (0.2, 1), (0.5, 1), (1.4, 1), (2.6, 3)])
def test_a_part_of_a_request_is_one_and_not_none(stand_in: StandIn, average: float, count: int):
    """Azure gives averages, of the nodes that answered: where one failed, its failure is not rounded away."""
    offer(stand_in, [{"deployment": "green", "statusCode": "503"}], average)
    seen = PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL)
    assert [(one.requests, one.failures) for one in seen.total.values()] == [(count, count)] * bool(count)
    offer(stand_in, [{"deployment": "green"}], average)
    endpoint = Endpoint("fraud", "Succeeded", "Key", "", {}, {}, {}, (), {"id": ENDPOINT})
    assert read_requests(stand_in.workspace().arm, endpoint, SINCE, UNTIL) == {"green": count}


def test_a_status_that_nothing_was_answered_with_may_be_any_text(stand_in: StandIn):
    """A series of zeros says nothing of a request: what is served beside it is counted."""
    offer(stand_in, [{"deployment": "green", "statusCode": ""}], average=0.0)
    assert PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL).total == {}


@pytest.mark.parametrize(("late", "value"), [("P50", None), ("P50", 0.0), ("P99", None)])
def test_a_minute_without_one_of_its_percentiles_has_none(stand_in: StandIn, late: str, value: float | None):
    """Each is ingested on its own; the others alone had a version of equal latency rolled back."""
    published = {"P50": 80.0, "P90": 160.0, "P95": 200.0, "P99": 290.0, late: value}

    def answer(request: Request) -> JSONResponse:
        metric = request.query_params["metricnames"]
        labels = ("deployment", "statusCode") if metric == "RequestsPerMinute" else ("deployment",)
        values = [
            {"name": {"value": name.lower()}, "value": "200" if name == "statusCode" else "blue"} for name in labels
        ]
        average = published.get(metric.removeprefix("RequestLatency_"), 600.0)
        rows = [{"metadatavalues": values, "data": [{"timeStamp": "2026-03-02T08:00:00Z", "average": average}]}]
        return JSONResponse({"value": [{"timeseries": rows}]})

    stand_in.azure.answer = answer
    blue = PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL).total["blue"]
    assert blue == Served(600, 0)
    published[late] = 290.0 if late == "P99" else 80.0
    blue = PlatformMetrics(stand_in.workspace(), ENDPOINT).observe(SINCE, UNTIL).total["blue"]
    assert blue == Served(600, 0, 80.0, 160.0, 200.0, 290.0)
