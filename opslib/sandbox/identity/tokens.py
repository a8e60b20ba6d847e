"""Tokens: managed identity's and AMLToken endpoints', real signed JWTs that expire."""

import json
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jwt

from opslib.sandbox.arm.principals import TENANT_ID, Principal

ALGORITHM = "ES256"
AZURE_ARM_AUDIENCES = (
    "https://management.azure.com",
    "https://management.core.windows.net",
)
LOGS_AUDIENCES = ("https://api.loganalytics.io", "https://api.loganalytics.azure.com")
SCORING_AUDIENCES = ("https://ml.azure.com",)
SCORING_ISSUER = "azureml"
SCORE_ACTION = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
STORAGE_AUDIENCES = ("https://storage.azure.com",)
_REMEMBERED = 1024
"""Verified tokens that are kept at most [count]; verifying an ES256 signature takes longer than many a handler."""


class TokenRefused(Exception):  # noqa: N818 - named for what happened, as Entra does
    """A token is missing, malformed, expired, forged, or meant for another audience."""


@dataclass(frozen=True)
class Issued:
    """A token and its validity [epoch seconds]."""

    token: str
    expires_at: int


class Tokens:
    """Issues and verifies the sandbox's tokens."""

    def __init__(self, private_key: str, issuer: str, find: Callable[[str], Principal | None]) -> None:
        self._private = _read(private_key)
        self._public = self._private.public_key()
        self.issuer = issuer
        self._find = find
        self._verified: dict[tuple[str, str], dict[str, Any]] = {}  # claims by token and issuer

    def issue(self, audience: str, claims: dict[str, Any], lifetime_s: float) -> Issued:
        """Sign a token for one audience."""
        now = int(time.time())
        expires = now + int(lifetime_s)
        content = {"aud": audience, "iss": self.issuer, "iat": now, "nbf": now, "exp": expires, **claims}
        return Issued(jwt.encode(content, self._private, algorithm=ALGORITHM), expires)

    def issue_for_scoring(self, endpoint_id: str, object_id: str, lifetime_s: float) -> Issued:
        """Sign a token for scoring one endpoint, with the claims that were recorded in 2022 and 2024."""
        expires = int(time.time()) + int(lifetime_s)
        parts = endpoint_id.split("/")
        claims = {
            "aud": SCORING_ISSUER,
            "iss": SCORING_ISSUER,
            "exp": expires,
            "canRefresh": "False",
            "workspaceId": str(uuid.uuid5(uuid.NAMESPACE_URL, endpoint_id.rsplit("/", 2)[0])),
            "tid": TENANT_ID,
            "oid": object_id,
            "actions": json.dumps([SCORE_ACTION]),
            "endpointName": parts[-1],
            "serviceId": endpoint_id,
        }
        return Issued(jwt.encode(claims, self._private, algorithm=ALGORITHM), expires)

    def scoring_caller(self, token: str, endpoint_id: str) -> str:
        """Return whom a token for scoring an endpoint was given to."""
        claims = self._claims(token, SCORING_ISSUER)
        if claims.get("serviceId") != endpoint_id:
            raise TokenRefused(f"The access token is for endpoint '{claims.get('endpointName')}'.")
        return str(claims.get("oid", ""))

    def issue_for(self, principal: Principal, audience: str, lifetime_s: float) -> Issued:
        """Sign a token that identifies a principal."""
        claims = {
            "oid": principal.object_id,
            "sub": principal.object_id,
            "appid": principal.client_id,
            "tid": TENANT_ID,
            "idtyp": "app",
            "ver": "1.0",
        }
        return self.issue(audience, claims, lifetime_s)

    def public_jwk(self) -> dict[str, Any]:
        """Return the key that verifies the tokens (RFC 7517)."""
        key: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._public))
        return {**key, "alg": ALGORITHM, "use": "sig", "kid": "sandbox"}

    def verify(self, token: str, audiences: Collection[str]) -> dict[str, Any]:
        """Return the claims of a good token; audiences are compared without a trailing slash."""
        claims = self._claims(token, self.issuer)
        if str(claims["aud"]).rstrip("/") not in {audience.rstrip("/") for audience in audiences}:
            raise TokenRefused(
                "The access token has been obtained for wrong audience or resource "
                f"'{claims['aud']}'. It should exactly match one of: {', '.join(sorted(audiences))}."
            )
        return claims

    def _claims(self, token: str, issuer: str) -> dict[str, Any]:
        """Return the claims of a token; its signature is verified once, its validity each time."""
        known = self._verified.get((token, issuer))
        if known is not None and known["exp"] > time.time():
            return known
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                issuer=issuer,
                options={"require": ["exp", "aud", "iss"], "verify_aud": False},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"The access token is invalid: {error}.") from error
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[token, issuer] = claims
        return claims

    def principal(self, authorization: str, audiences: Collection[str]) -> Principal:
        """Return who an Authorization header names."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenRefused("Authentication failed. The 'Authorization' header is missing.")
        principal = self._find(str(self.verify(token.strip(), audiences).get("oid")))
        if principal is None:
            raise TokenRefused("The access token names no principal of this tenant.")
        return principal


def _read(private_key: str) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only here

    return serialization.load_pem_private_key(private_key.encode(), password=None)
