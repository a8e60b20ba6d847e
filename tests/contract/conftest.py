from contract_fixtures import arm, blue_only, counted, credential, fraud, kept_quota, make_endpoint, ml
from faults_fixture import faults

__all__ = ["arm", "blue_only", "counted", "credential", "faults", "fraud", "kept_quota", "make_endpoint", "ml"]
