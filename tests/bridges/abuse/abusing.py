"""What the tests of abused servers share."""

from tests.bridges.live import HttpClient, WebSocketClient

LONGEST = 100_000  # bytes of a message
Client = HttpClient | WebSocketClient
CLIENTS: dict[str, type[Client]] = {"http": HttpClient, "websocket": WebSocketClient}


def begun(client: Client, env_id: str) -> str:
    """An instance with an episode under way."""
    instance = client.make(env_id)
    client.reset(instance)
    return instance
