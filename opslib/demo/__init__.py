"""A whole release on the sandbox, as a newcomer's first five minutes."""
