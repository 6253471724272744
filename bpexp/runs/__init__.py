"""A finished run: its result, identity, tags and software environment."""
