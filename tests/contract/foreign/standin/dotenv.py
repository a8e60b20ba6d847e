"""Replaces python-dotenv, which the tests' configuration imports: the environment is what the run sets."""


def load_dotenv() -> bool:
    """Load nothing."""
    return False
