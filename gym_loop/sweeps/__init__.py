"""Sweeps: many runs of one file with other values, led by Optuna; see ``sweeping.sweep``."""
