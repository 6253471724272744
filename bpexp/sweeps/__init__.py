"""A sweep: planned, executed, tracked and summarized."""
