from opslib.sandbox.cli.support import SUPPORT, matrix
from opslib.sandbox.server.routes import ROUTES


def test_the_support_matrix_is_that_of_the_routes():
    """SUPPORT.md follows routes, faults and differences: else run `python -m opslib.sandbox.cli.support`."""
    assert SUPPORT.read_text(encoding="utf-8") == matrix()


def test_every_route_has_a_line():
    """No operation is missing from the matrix."""
    assert all(f"| {route.operation} | {route.method} |" in matrix() for route in ROUTES)
