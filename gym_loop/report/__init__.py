"""Figures, tables and verdicts from runs on disk: ``gym-loop report`` and ``gym-loop compare``."""
