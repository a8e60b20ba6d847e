from contract_fixtures import arm, blue_only, counted, credential, fraud, kept_quota, make_endpoint, ml

__all__ = ["arm", "blue_only", "counted", "credential", "fraud", "kept_quota", "make_endpoint", "ml"]
