"""What people see. Importing this package registers a view of every value that displays itself."""

from opslib.show import costs, inventory, progress, status, views

__all__ = ["costs", "inventory", "progress", "status", "views"]
