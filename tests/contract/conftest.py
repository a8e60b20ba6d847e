from contract_fixtures import arm, blue_only, counted, credential, fraud, make_endpoint, ml

__all__ = ["arm", "blue_only", "counted", "credential", "fraud", "make_endpoint", "ml"]
