"""Errors of azure-core as opslib's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import DecodeError, HttpResponseError

from opslib.errors import AccessDenied, AzureError, NotFound, UnexpectedAnswer


@contextmanager
def mapped_errors(what: str, refused: type[AzureError] | None = None) -> Iterator[None]:
    """Raise azure-core's errors as ours; `refused` is the kind of every refusal, else its status gives the kind."""
    try:
        yield
    except DecodeError as error:
        raise unreadable_body(error.response, what) from error
    except HttpResponseError as error:
        code = error.error.code if error.error and error.error.code else ""
        headers = getattr(error.response, "headers", {})
        correlation_id = headers.get("x-ms-correlation-request-id", "")
        kind = refused or _KINDS.get(error.status_code or 0, AzureError)
        message = f"{what}: {error.status_code} {describe(error)}"
        if "Retry-After" in headers:
            message += f" [Retry-After: {headers['Retry-After']}]"
        raise kind(message, error.status_code, code, correlation_id) from error
    except CoreError as error:
        raise AzureError(f"{what}: {error.message}") from error


_KINDS = {403: AccessDenied, 404: NotFound}


def unreadable_body(response: Any, what: str) -> UnexpectedAnswer:
    """Return the error of an answer whose body is no JSON object, as a proxy's sign-in page."""
    kind = response.headers.get("Content-Type", "no content type")
    return UnexpectedAnswer(
        f"{what}: {response.status_code} with a body that is not understood: expected a JSON object, got {kind} "
        f"beginning {response.text()[:80]!r}. Check for a proxy between this machine and Azure",
        response.status_code,
        "",
        response.headers.get("x-ms-correlation-request-id", ""),
    )


def describe(error: HttpResponseError) -> str:
    """Return ARM's error in one line: its code and message, and those of its innermost detail."""
    if error.error is None:
        return str(error.message)
    detail = error.error
    while detail.details:
        detail = detail.details[0]
    outer = f"({error.error.code}) {error.error.message}"
    return outer if detail is error.error else f"{outer} ({detail.code}) {detail.message}"
