"""The policy file's JSON Schema, which editors use to complete and check it.

`python -m opslib.policy.schema` writes it from the model.
"""

import json
from pathlib import Path

from opslib.policy.policy import Policy

SCHEMA = Path(__file__).with_name("policy.schema.json")


def schema() -> str:
    """Return the schema (JSON Schema 2020-12) of `Policy`."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Policy.model_json_schema()}
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
