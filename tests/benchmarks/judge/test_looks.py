"""What a look costs at the start and at the end of a long canary, beside Kayenta's test on all minutes so far.

``OPSLIB_BENCH_LOOKS`` is the number of looks: 60, or 10800 for quoted figures, which is six hours at one look every
2 s. ``-s`` prints the figures.
"""

import os
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from opslib.azure.request_log import RequestLog
from opslib.evidence.run.decisions import write_decisions
from opslib.evidence.run.files import DECISIONS, JOURNAL
from opslib.evidence.run.journal import Journal
from opslib.judge import begin
from opslib.judge.looks.plot_series import LINES_KEPT
from opslib.model import Observation, Served, ServedInterval
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.judge_session import JudgeSession
from opslib.runbooks.canary.judge_settings import judge_settings

from .kayenta import mann_whitney_interval

LOOKS = int(os.environ.get("OPSLIB_BENCH_LOOKS", "60"))
GRAIN_S = 2.0
SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)
PARAMETERS = CanaryParameters.check(
    {"endpoint": "fraud", "canary": "green", "settle_s": 0, "warm_up_s": 0, "bake_s": 21600, "max_bake_s": 21600}
)


NO_WORKSPACE: Any = None
"""Nothing is read from an endpoint."""


def resident_mb() -> float:
    """Memory of this process now [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_session(folder: Path) -> JudgeSession:
    source = RequestLog(NO_WORKSPACE, "/fraud", GRAIN_S)
    settings = judge_settings(PARAMETERS, source)
    quantiles = (5.0, 9.0, 11.0, 13.0, 15.0, 20.0)
    state = begin(settings.criteria, endpoint="fraud", stable="a", canary="b", reference_ms=quantiles)
    session = JudgeSession(Journal(folder), lambda _: None, source, settings, state, "blue", "green")
    session.begin_stage()
    return session


def test_a_look_costs_as_much_at_the_end_as_at_the_start(tmp_path):
    """Processor time of a look, bytes of the journal per look, and memory."""
    session = open_session(tmp_path)
    rng = np.random.default_rng(20)
    thresholds = session.thresholds_ms()
    served = deque[ServedInterval](maxlen=500)  # what a source would return again
    rates = np.empty((2, LOOKS))
    ours_s, kayenta_s, memory = [], [], []
    for look in range(LOOKS):
        failed = rng.binomial(60, 0.01, 2)
        rates[:, look] = failed / 60 + rng.normal(0, 1e-6, 2)
        above = tuple((ms, max(1, 50 - 8 * n)) for n, ms in enumerate(thresholds))
        blue, green = (Served(60, int(n), 10.0, 12.0, 15.0, 20.0, above) for n in failed)
        served.append(
            ServedInterval(SINCE + timedelta(seconds=GRAIN_S * look), GRAIN_S, {"blue": blue, "green": green})
        )
        since = session.read_from(SINCE)
        until = served[-1].end
        read = tuple(one for one in served if one.start >= since)
        observation = Observation("request log", since, until, until, {}, read)
        begun = time.process_time()
        session.judge(observation, weight=50.0, bake_over=False)
        ours_s.append(time.process_time() - begun)
        if look % max(1, LOOKS // 20) == 0:
            memory.append(resident_mb())
            begun = time.process_time()
            minutes = rates[:, : look + 1 : 30]
            if look:
                mann_whitney_interval(minutes[:1], minutes[1:], 0.98)
            kayenta_s.append(time.process_time() - begun)
    tenth = max(1, LOOKS // 10)
    first_ms, last_ms = (1e3 * median(part) for part in (ours_s[:tenth], ours_s[-tenth:]))
    per_look = (tmp_path / JOURNAL).stat().st_size / LOOKS
    print(
        f"\n{LOOKS} looks: {first_ms:.1f} ms at first, {last_ms:.1f} ms at the end; "
        f"Kayenta's test {1e3 * kayenta_s[1]:.1f} ms, {1e3 * kayenta_s[-1]:.1f} ms; "
        f"journal {per_look:.0f} bytes a look; memory [MB] {', '.join(f'{mb:.0f}' for mb in memory)}"
    )
    assert session.state.judged == LOOKS
    assert per_look < 2500
    write_decisions(tmp_path)
    assert (tmp_path / DECISIONS).stat().st_size / LOOKS < 1000
    full = 2 * LINES_KEPT // (LOOKS // len(memory))  # then the plot holds as many lines as it ever does
    assert memory[-1] - memory[min(full, len(memory) - 1)] < 5
