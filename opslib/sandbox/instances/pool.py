"""The instances of one deployment that take traffic, and the queue before them."""

import asyncio
from collections import deque

from opslib.sandbox.instances.instance import Instance
from opslib.sandbox.instances.payload import Payload


class NoInstance(Exception):  # noqa: N818 - a state, not a mistake
    """No instance of the deployment is ready."""


class TooManyPending(Exception):  # noqa: N818 - Azure's own words
    """More requests are pending than the deployment may hold."""


class Pool:
    """Ready instances and waiting requests.

    Azure ML lets 2 x max_concurrent_requests_per_instance x instances be pending, half of them in the
    model, half waiting. Source: MicrosoftDocs, how-to-troubleshoot-online-endpoints.md, status 429.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # one change of the set of instances at a time
        self.payload: Payload | None = None
        self.instances: list[Instance] = []
        self._waiting: deque[asyncio.Future[Instance]] = deque()

    @property
    def concurrency(self) -> int:
        """Return the requests that one instance works on at once."""
        return self.payload.concurrency if self.payload is not None else 1

    @property
    def rotation(self) -> list[Instance]:
        """Return the instances that are ready for traffic."""
        return [instance for instance in self.instances if instance.ready]

    def pending(self) -> int:
        """Return requests in instances and in the queue."""
        return sum(instance.in_flight for instance in self.instances) + len(self._waiting)

    def replace(self, payload: Payload, instances: list[Instance]) -> list[Instance]:
        """Switch to another set of instances at once; return those that take no traffic any more."""
        retired = [instance for instance in self.instances if instance not in instances]
        self.payload, self.instances = payload, list(instances)
        self.hand_out()
        return retired

    def remove(self, instance: Instance) -> None:
        """Take a dead instance out of rotation."""
        if instance in self.instances:
            self.instances.remove(instance)

    async def acquire(self) -> Instance:
        """Return one instance for one request, waiting for it if the queue has room; `release` gives it back.

        Raises
        ------
        NoInstance
            If none is ready.
        TooManyPending
            If the queue is full.
        """
        free = self._free()
        if free is not None and not self._waiting:
            free.in_flight += 1
            return free
        rotation = len(self.rotation)
        if not rotation:
            raise NoInstance
        if self.pending() >= 2 * self.concurrency * rotation:
            raise TooManyPending
        turn: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came with the cancellation: give it back
                turn.result().in_flight -= 1
                self.hand_out()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def release(self, instance: Instance) -> None:
        """Take an instance back from a request."""
        instance.in_flight -= 1
        self.hand_out()

    def _free(self) -> Instance | None:
        instance = min(self.rotation, key=lambda one: one.in_flight, default=None)
        return instance if instance is not None and instance.in_flight < self.concurrency else None

    def hand_out(self) -> None:
        """Assign free instances to waiting requests."""
        while self._waiting:
            instance = self._free()
            if instance is None:
                return
            turn = self._waiting.popleft()
            if not turn.done():
                instance.in_flight += 1
                turn.set_result(instance)
