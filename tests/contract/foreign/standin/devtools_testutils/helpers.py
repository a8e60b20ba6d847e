"""How tests ask in which mode they run."""


def is_live() -> bool:
    """Answer that they talk to a service."""
    return True


def is_live_and_not_recording() -> bool:
    """Answer no: else the tests name each upload by a random number, and not by its content as programs do."""
    return False
