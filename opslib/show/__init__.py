"""What people see. `opslib.show.registered` registers a view of every value that displays itself."""
