"""The sandbox in tests and programs: a context manager, and the fixtures of the pytest plugin."""
