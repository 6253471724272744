"""Studies: published experiments, repeated as sweeps and compared with the published results."""
