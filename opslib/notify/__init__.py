"""What people and programs are notified of, and the forms in which it is sent. Pure: `opslib.azure` sends."""
