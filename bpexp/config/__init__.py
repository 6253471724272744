"""The configuration: its schema, its composition from overrides, and its help."""
