"""The security review of an endpoint: rules over what Azure returned. Pure."""
