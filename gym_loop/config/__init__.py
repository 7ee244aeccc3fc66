"""The run file: read, merged with defaults, checked, overridden, written; and the presets."""
