"""Published experiments as sweeps."""
