"""Documents, tables and plots."""
