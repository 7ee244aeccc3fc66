"""The ``gym-loop`` command: one module a group of commands, and what they print."""
