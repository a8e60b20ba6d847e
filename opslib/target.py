"""How a person names the workspace."""

TARGET = '"sandbox", "azure" (nearest config.json), or the path of a config.json'
