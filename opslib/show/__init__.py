"""What people see. Importing this package registers a view of every value that displays itself."""

from opslib.show import progress, views

__all__ = ["progress", "views"]
