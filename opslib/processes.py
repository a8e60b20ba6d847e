"""Work on many runs, spread over the cores of the machine."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALLEST = 1000
"""Items for which other processes are worth their start of some 20 ms [count]."""

CHUNK = 250
"""Items that a process takes at a time [count]."""


def map_over_cores(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the results of work on items, in order; many items are divided over the cores.

    The processes are forked, so that `work` may be a closure over what was read already. A process with threads of
    its own, such as a notebook's kernel, must not fork: there, and on one core, this process does the work.

    Parameters
    ----------
    work
        Returns the results of some of the items.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    if len(items) < SMALLEST or cores < 2 or threading.active_count() > 1:
        yield from chain.from_iterable(map(work, chunks))
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - a tenth of a list's time, for many runs only
    from multiprocessing import get_context  # noqa: PLC0415

    _keep(work)
    with ProcessPoolExecutor(cores, get_context("fork")) as pool:
        yield from chain.from_iterable(pool.map(_call, chunks))


_WORK: list[Callable[[Any], Any]] = []
"""The work of this process: a closure cannot be sent to another one, a fork has it."""


def _keep(work: Callable[[Any], Any]) -> None:
    _WORK[:] = [work]


def _call(items: Any) -> Any:
    return _WORK[0](items)
