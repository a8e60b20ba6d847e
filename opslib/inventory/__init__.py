"""All deployments of many workspaces, a row each: what runs, for whom, at which cost, and who changed it last."""
