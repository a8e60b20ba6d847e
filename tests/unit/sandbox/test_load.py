import asyncio
import io
import itertools
import json

from opslib.sandbox.cli.load import Load, LoadReport, _measure


def test_arrivals_are_poisson_and_repeat_with_their_seed():
    """As many as requested, gaps whose spread is their mean, every body in turn, the same for the same seed."""
    load = Load(rps=50, seconds=200, deadline_s=1, seed=3, bodies=(b"a", b"b"))
    arrivals = list(load.arrivals())
    times = [at for at, _ in arrivals]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert 9_600 < len(arrivals) < 10_400
    assert 0.95 < spread / mean < 1.05
    assert {body for _, body in arrivals} == {b"a", b"b"}
    assert arrivals == list(load.arrivals())


def test_latency_runs_from_when_a_request_was_due():
    """A request that its source sends late is late, and the delay is reported."""

    async def answer() -> tuple[int, str, None]:
        return 200, "blue", None

    async def scene() -> dict[str, float]:
        report = io.StringIO()
        due_s = asyncio.get_running_loop().time() - 0.25
        await _measure(answer(), LoadReport(report), (due_s, 0.0, "id"))
        return json.loads(report.getvalue())

    row = asyncio.run(scene())
    assert row["latency_ms"] >= row["late_ms"] >= 250


def test_results_are_told_by_deployment_and_status():
    """Each pair has its own line of counts and latencies; what was given up is there by its reason."""
    results = LoadReport()
    for status, deployment, error, latency in (
        (200, "blue", None, 5.0),
        (424, "green", None, 9.0),
        (None, None, "deadline", 10_000.0),
    ):
        results.add(
            {"status": status, "deployment": deployment, "error": error, "latency_ms": latency, "late_ms": 1.5}
        )
    lines = [line.split() for line in results.summary().splitlines()]
    assert lines[0] == ["3", "requests"]
    assert ["blue", "200", "1", "5.0", "5.0", "5.0", "5.0"] in lines
    assert ["green", "424", "1", "9.0", "9.0", "9.0", "9.0"] in lines
    assert ["-", "deadline", "1", "10000.0", "10000.0", "10000.0", "10000.0"] in lines
    assert lines[-1][:4] == ["sent", "at", "most", "1.5"]
