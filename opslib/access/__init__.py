"""Who may do what: the actions that a plan needs, and what roles grant. Pure."""
