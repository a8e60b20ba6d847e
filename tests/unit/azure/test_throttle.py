"""What a request to Azure waits for, where the service throttles it."""

from unittest.mock import Mock

import pytest

from opslib.azure.throttle import MAX_WAIT_S, BoundedRetry


@pytest.mark.parametrize(("named_s", "attempts"), [(MAX_WAIT_S, 1), (MAX_WAIT_S / 2, 2), (MAX_WAIT_S + 1, 0)])
def test_a_request_waits_for_a_bounded_time_in_all_its_attempts(named_s: float, attempts: int):
    """Six times the longest pause would be longer than a lease, and half of an undo's whole time."""
    policy: BoundedRetry = BoundedRetry(retry_total=6, retry_status=6)
    response = Mock()
    response.http_response.status_code = 429
    response.http_response.headers = {"Retry-After": str(named_s)}
    for _ in range(2):  # each request anew
        settings = policy.configure_retries({})
        repeated = [policy.is_retry(settings, response) for _ in range(3)]
        assert repeated == [True] * attempts + [False] * (3 - attempts)
