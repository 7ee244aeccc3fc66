"""The native protocol: every space, N environments a message, state, nothing lost."""
