"""The diagnosis of an endpoint: what failed, unwrapped to its cause, with evidence and the next action. Pure."""
