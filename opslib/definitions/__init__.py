"""Source-controlled definitions of endpoints and deployments (CLI v2 YAML), read and checked without Azure."""
