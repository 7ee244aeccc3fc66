"""What the tests of abused servers share."""

from tests.serve.live import HttpClient, WebSocketClient

LONGEST = 100_000  # bytes of a message
Client = HttpClient | WebSocketClient
CLIENTS: dict[str, type[Client]] = {"http": HttpClient, "websocket": WebSocketClient}


def begun(client: Client, env_id: str) -> str:
    """An instance with an episode under way."""
    instance = client.make(env_id)
    client.reset(instance)
    return instance


def sent_unread(client: Client, data: bytes, most: int = 100_000_000) -> int:
    """Bytes that are taken from a client that reads no answer, until it has to wait."""
    sent = 0
    try:
        while sent < most:
            client.socket.sendall(data)
            sent += len(data)
    except OSError:
        pass  # it waits, or has ended the connection
    return sent
