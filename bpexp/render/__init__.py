"""Documents, tables and plots as plain values, and the formats they are rendered in."""
