"""Write an endpoint's folder (endpoint.yml, a YAML per deployment, policy.yml) from the live endpoint."""
