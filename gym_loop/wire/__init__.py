"""Values, spaces and messages as JSON and bytes, for checkpoints and protocols; no I/O."""
