"""What an endpoint costs, and what a change adds or saves. Pure: prices and state come in."""
