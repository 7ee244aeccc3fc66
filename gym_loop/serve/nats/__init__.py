"""NATS, as gym-nats speaks it: an existing system answers, the agent side asks."""
