"""gym-http-api v1: one request a call, JSON both ways; what a dozen languages' bindings speak."""
