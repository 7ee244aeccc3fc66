"""Environments: how they are made, and how their state is saved and brought back."""
