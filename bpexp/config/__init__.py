"""The configuration: its schema, and how it is composed from overrides."""
