"""gymz: an environment as three independent streams over ZeroMQ, in real time or in lock-step."""
