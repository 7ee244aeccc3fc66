"""Sweeps: many runs of one file with other values, on Ray Tune; see ``sweeping.sweep``."""
