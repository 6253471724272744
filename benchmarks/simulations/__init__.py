"""Simulations of the statistics of reports, studies and races."""
