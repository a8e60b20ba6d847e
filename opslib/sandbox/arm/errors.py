"""Every error that the sandbox answers, in Azure Resource Manager's shape.

The envelope `{"error": {code, message, target, details, additionalInfo}}` and the way Azure ML wraps
inner messages follow errors reported for the live service: Azure/azure-cli-extensions#7660,
MicrosoftLearning/mslearn-azure-ml#30, Azure/azure-sdk-for-net#36961.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from opslib.sandbox.core.clock import iso_now, iso_offset, now_us

VALIDATION_TITLE = "One or more validation errors occurred."


class ArmError(Exception):
    """A refusal with its HTTP status; `body()` is what goes over the wire."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        inner: str = "",
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []
        self.headers = dict(headers or {})
        self.inner = inner

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message

    def body(self, *, operation: str = "", request_id: str = "", location: str = "") -> dict[str, Any]:
        """Return the JSON body; `location` is the region that answers.

        `additionalInfo` items need both `type` and `info`, else azure-core cannot read them.
        """
        info: list[dict[str, Any]] = [
            {"type": "ComponentName", "info": {"value": "managementfrontend"}},
            {"type": "Correlation", "info": {"value": {"operation": operation, "request": request_id}}},
            {"type": "Environment", "info": {"value": location}},
            {"type": "Location", "info": {"value": location}},
            {"type": "Time", "info": {"value": iso_offset(now_us())}},
        ]
        if self.inner:
            info.append({"type": "InnerError", "info": {"value": {"code": self.inner, "innerError": None}}})
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "details": self.details,
                "additionalInfo": info,
            }
        }

    @classmethod
    def invalid_request(cls, message: str) -> "ArmError":
        """400: the body or the query cannot be read."""
        return cls(400, "InvalidRequestContent", message)

    @classmethod
    def bad_request(cls, message: str) -> "ArmError":
        """400: readable, and not allowed."""
        return cls(400, "BadRequest", message)

    @classmethod
    def validation(cls, field: str, *messages: str, inner: str = "InferencingClientCallFailed") -> "ArmError":
        """400 in the double envelope in which Azure ML's inference service reports a bad field."""
        trace = uuid.uuid4().hex
        problem = {
            "errors": {field: list(messages)},
            "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
            "title": VALIDATION_TITLE,
            "status": 400,
            "traceId": f"00-{trace}-{trace[:16]}-01",
        }
        detail = {"code": inner, "message": json.dumps(problem), "details": [], "additionalInfo": []}
        return cls(400, "BadRequest", f"The request is invalid. {' '.join(messages)}", details=[detail])

    @classmethod
    def unauthorized(cls, message: str, authority: str) -> "ArmError":
        """401 with the challenge that ARM sends."""
        challenge = f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{message}"'
        return cls(401, "AuthenticationFailed", message, headers={"WWW-Authenticate": challenge})

    @classmethod
    def expired_token(cls) -> "ArmError":
        """401 as ARM words it for a token that was good once."""
        now = iso_now()
        return cls(
            401,
            "ExpiredAuthenticationToken",
            f"The access token expiry UTC time '{now}' is earlier than current UTC time '{now}'.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token", error_description="expired"'},
        )

    @classmethod
    def throttled(cls, retry_after_s: int) -> "ArmError":
        """429 with Retry-After in whole seconds."""
        return cls(
            429,
            "SubscriptionRequestsThrottled",
            "Number of requests for the subscription exceeded the limit. Please try again after "
            f"'{retry_after_s}' seconds after additional tokens are available.",
            headers={"Retry-After": str(retry_after_s)},
        )

    @classmethod
    def forbidden(cls, client: str, object_id: str, action: str, scope: str) -> "ArmError":
        """403 in ARM's words."""
        return cls(
            403,
            "AuthorizationFailed",
            f"The client '{client}' with object id '{object_id}' does not have authorization to perform action "
            f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently "
            "granted, please refresh your credentials.",
        )

    @classmethod
    def insufficient_access(cls) -> "ArmError":
        """403 of the Log Analytics query API."""
        message = "The provided credentials have insufficient access to perform the requested operation"
        return cls(403, "InsufficientAccessError", message)

    @classmethod
    def not_found(cls, kind: str, name: str) -> "ArmError":
        """404: no such resource."""
        return cls(404, "ResourceNotFound", f"The {kind} '{name}' was not found.")

    @classmethod
    def no_route(cls, method: str, path: str) -> "ArmError":
        """404: an address that belongs to no provider the sandbox knows."""
        return cls(
            404,
            "InvalidResourceType",
            f"The sandbox has no resource type at {method} {path}. Check the address; SUPPORT.md lists what "
            "is built.",
        )

    @classmethod
    def not_built(cls, operation: str) -> "ArmError":
        """501: Azure has this operation, the sandbox has not."""
        return cls(
            501,
            "NotImplemented",
            f"The sandbox does not implement '{operation}'. It is not an error of yours: use Azure for this "
            "operation, or do without it.",
        )

    @classmethod
    def not_runnable(cls, message: str) -> "ArmError":
        """501: Azure runs it, this machine cannot; the message has the reason and what to do."""
        return cls(501, "NotImplemented", message)

    @classmethod
    def conflict(cls, message: str) -> "ArmError":
        """409: another operation has not ended."""
        return cls(409, "Conflict", message)

    @classmethod
    def too_large(cls, limit_bytes: int) -> "ArmError":
        """413: the body is longer than the sandbox reads."""
        return cls(
            413,
            "RequestContentTooLarge",
            f"The request content is too large. The maximum request content size is {limit_bytes} bytes.",
        )


class ProvisioningFailed(Exception):  # noqa: N818 - Azure's word: an operation has Failed
    """A long-running operation ends in Failed with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        """Return the `error` member of the operation's status."""
        return {"code": self.code, "message": self.message, "details": [], "additionalInfo": []}
