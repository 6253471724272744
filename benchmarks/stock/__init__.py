"""Tracked sweeps as other tools' documentation shows them: programs of their own."""
