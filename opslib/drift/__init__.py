"""Differences between what endpoints should be and what they are: by definition, inventory, or a run's end."""
