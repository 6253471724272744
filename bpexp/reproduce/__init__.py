"""What makes a run the same run: identity, verification, resumption."""
