"""How many instances of which type a deployment needs, from what was measured. Pure."""
