"""Who may score: key, aml_token or aad_token, by the endpoint's authMode."""

import hmac

from opslib.sandbox.arm.store import Resource
from opslib.sandbox.identity.directory import Directory
from opslib.sandbox.identity.tokens import SCORING_AUDIENCES, TokenRefused, Tokens

SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"


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
            keys = (endpoint.secrets["primaryKey"], endpoint.secrets["secondaryKey"])
            matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys]
            return "" if any(matches) else None
        try:
            if mode == "AMLToken":
                return str(self._tokens.verify(given, {endpoint.key}).get("sub", ""))
            caller = self._tokens.principal(f"Bearer {given}", SCORING_AUDIENCES)
        except TokenRefused:
            return None
        return caller.object_id if self._directory.allows(caller, SCORE, endpoint.id) else None
