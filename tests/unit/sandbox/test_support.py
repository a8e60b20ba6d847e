from opslib.sandbox.routes import ROUTES
from opslib.sandbox.support import SUPPORT, matrix


def test_the_support_matrix_is_that_of_the_routes():
    """SUPPORT.md is what the routes, faults and differences say: else run `python -m opslib.sandbox.support`."""
    assert SUPPORT.read_text(encoding="utf-8") == matrix()


def test_every_route_has_a_line():
    """No operation is missing from the matrix."""
    assert all(f"| {route.operation} | {route.method} |" in matrix() for route in ROUTES)
