"""Checkpoints: objects as data, random streams, and the store that keeps both on disk."""
