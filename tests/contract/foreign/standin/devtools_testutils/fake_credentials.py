"""Names that the SDK's conftest imports; a live test uses none of them."""

SANITIZED = "Sanitized"


class FakeTokenCredential:
    """Never made: live tests have a real credential."""
