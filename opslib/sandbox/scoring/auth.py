"""Who may score: key, aml_token or aad_token, by the endpoint's authMode."""

import hmac

from opslib.sandbox.arm.records import Resource
from opslib.sandbox.identity.directory import Directory
from opslib.sandbox.identity.tokens import SCORE_ACTION, SCORING_AUDIENCES, TokenRefused, Tokens


class ScoringAuth:
    """Checks the credential of a scoring request."""

    def __init__(self, tokens: Tokens, directory: Directory) -> None:
        self._tokens = tokens
        self._directory = directory

    def identify(self, endpoint: Resource, authorization: str) -> str | None:
        """Return the caller, as IdentityData shows it; None when the credential is invalid."""
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            return None
        mode = endpoint.properties["authMode"]
        if mode == "Key":
            primary, secondary = endpoint.secrets["primaryKey"], endpoint.secrets["secondaryKey"]
            sent = given.encode()
            matches = hmac.compare_digest(sent, primary.encode()) | hmac.compare_digest(sent, secondary.encode())
            return "" if matches else None
        try:
            if mode == "AMLToken":
                return self._tokens.scoring_caller(given, endpoint.key)
            caller = self._tokens.principal(f"Bearer {given}", SCORING_AUDIENCES)
        except TokenRefused:
            return None
        return caller.object_id if self._directory.allows(caller, SCORE_ACTION, endpoint.id) else None
