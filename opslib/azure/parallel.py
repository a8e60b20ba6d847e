"""Many reads at once, each with its value or the reason why it has none."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from opslib.errors import OpsError

WORKERS = 8
"""Reads at the same time; requests' own pool keeps ten connections [count]."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Read(Generic[K, V]):
    """The result of one read: what was read, its value, and the error where there is none."""

    key: K
    value: V | None
    error: OpsError | None = None


def read_all(read: Callable[[K], V], keys: Iterable[K], workers: int = WORKERS) -> Iterator[Read[K, V]]:
    """Read each key in a pool of threads; yield the results in the order of the keys."""

    def one(key: K) -> Read[K, V]:
        try:
            return Read(key, read(key))
        except OpsError as error:
            return Read(key, None, error)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, keys)
