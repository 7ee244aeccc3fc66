"""gymie: one WebSocket, text frames with JSON, replies in the order of the requests."""
