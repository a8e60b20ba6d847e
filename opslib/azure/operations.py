"""Long-running operations of Azure: wait for the end, and distinguish a failure from an inconclusive poll."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import DecodeError, HttpResponseError
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import BadResponse

from opslib.azure.arm_errors import describe
from opslib.errors import OperationFailed, OperationTimeout, PollError

Progress = Callable[[str], None]
"""Called about once a second during a wait, with Azure's name of the current state."""

LOST_STATUSES = frozenset({404, 410})
"""Statuses of a poll of an operation that Azure does not know any more."""

INCONCLUSIVE_STATUSES = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Statuses of a poll that do not show how the operation ended."""


class OperationLost(PollError):  # noqa: N818 - what happened
    """The operation behind a change cannot be polled; what became of the change, the resource itself shows."""


def await_operation(poller: LROPoller[Any], what: str, deadline_s: float, progress: Progress) -> None:
    """Wait for a long-running operation, in steps of a second so that an interrupt is handled soon."""
    begun_s = monotonic()
    while not poller.done():
        if monotonic() - begun_s > deadline_s:
            raise not_ended(what, deadline_s, f"last status: {poller.status()}")
        with mapped_operation(what):
            poller.wait(1.0)
        progress(f"{what}: {poller.status()}")
    with mapped_operation(what):
        poller.result()


def not_ended(what: str, deadline_s: float, last: str) -> OperationTimeout:
    """Return the error for a change that may still be running after the time that it was given."""
    return OperationTimeout(
        f"{what} did not end within {deadline_s:.0f} s ({last}). It may still be running: check the resource's "
        "provisioningState before doing anything else"
    )


@contextmanager
def mapped_operation(what: str) -> Iterator[None]:
    """Raise the failure of a long-running operation as ours; the poll has status 200, its body the error code.

    Raises
    ------
    OperationLost
        If the operation cannot be polled any more, or its status cannot be read: it may be running or have ended.
    """
    try:
        yield
    except HttpResponseError as error:
        unreadable = isinstance(error, DecodeError) or isinstance(error.__cause__, BadResponse)
        if unreadable or error.status_code in LOST_STATUSES:
            raise OperationLost(f"{what}: {error.status_code} {describe(error)}") from error
        if error.status_code in INCONCLUSIVE_STATUSES:
            raise PollError(f"{what}: {error.status_code} {describe(error)}") from error
        code = error.error.code if error.error and error.error.code else ""
        raise OperationFailed(f"{what} failed: {describe(error)}", code) from error
    except CoreError as error:
        raise PollError(f"{what}: {error.message}") from error
    except (AttributeError, TypeError, ValueError) as error:  # azure-core reads a status out of whatever it gets
        raise OperationLost(f"{what}: the status of the operation cannot be read: {error}") from error
