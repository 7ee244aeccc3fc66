"""Tiny servers that speak as the originals did, with their quirks, and fail on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gymnasium
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


class World:
    """The environments of a server, by the four-value rules of old.

    Attributes:
        held: by instance id.
        asked: every request, as ``(method, ...)``.
        faults: what to do instead of answering, by the name of a method; taken once.
    """

    def __init__(self, digits: int) -> None:
        self.held: dict[str, gymnasium.Env[Any, Any]] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.faults: dict[str, list[Callable[[], Any]]] = {}
        self._digits = digits

    def fault(self, method: str) -> Callable[[], Any] | None:
        """The next fault of a method."""
        waiting = self.faults.get(method)
        return waiting.pop(0) if waiting else None

    def make(self, env_id: str, seed: int | None) -> str:
        env = gymnasium.make(env_id)
        if seed:  # the falsy seed 0 was lost
            env.unwrapped.np_random, _ = gymnasium.utils.seeding.np_random(seed)
        instance = f"{len(self.asked):0{self._digits}x}"
        self.held[instance] = env
        return instance

    def step(self, instance: str, action: Any) -> list[Any]:
        observation, reward, terminated, truncated, info = self.held[instance].step(action)
        if truncated:
            info = {**info, "TimeLimit.truncated": not terminated}
        return [plain(observation), float(reward), bool(terminated or truncated), info]


def plain(observation: Any) -> Any:
    return (
        observation.tolist() if isinstance(observation, (np.ndarray, np.generic)) else observation
    )


def describe(space: Any, *, flat: bool) -> dict[str, Any]:
    """What the originals told of a space: no start, no dtype."""
    name = type(space).__name__
    if name == "Discrete":
        return {"name": name, "n": int(space.n)}
    if name != "Box":
        return {"name": name}
    low, high = (
        np.nan_to_num(bound.astype(float), posinf=1e100, neginf=-1e100)
        for bound in (space.low, space.high)
    )
    if flat:
        low, high = low.flatten(), high.flatten()
    return {"name": name, "shape": list(space.shape), "low": low.tolist(), "high": high.tolist()}


# -- gym-http-api --------------------------------------------------------------------------


class OldHttp(BaseHTTPRequestHandler):
    """Flask's development server: HTTP/1.0, a connection a request, NaN in JSON."""

    world: World
    keep_alive = False

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, value: Any = None, *, kind: str = "application/json") -> None:
        body = b"" if status == 204 else (json.dumps(value) + "\n").encode()
        if kind != "application/json" and status != 204:
            body = str(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        assert self.path.endswith("/"), "the originals redirect otherwise, which loses the body"
        self._serve(self.path.strip("/").split("/")[2:], self.body())

    def do_GET(self) -> None:
        self._serve(self.path.strip("/").split("/")[2:], None)

    def _serve(self, parts: list[str], body: Any) -> None:
        method = parts[1] if len(parts) > 1 else "make"
        self.world.asked.append((method, body))
        fault = self.world.fault(method)
        if fault is not None:
            answer = fault()
            if answer is None:
                self.close_connection = True
                self.connection.close()
            else:
                self.answer(*answer)
            return
        if method == "make":
            try:
                instance = self.world.make(body["env_id"], body.get("seed"))
            except gymnasium.error.Error:
                message = f"Attempted to look up malformed environment ID '{body['env_id']}'"
                self.answer(400, {"message": message})
                return
            self.answer(200, {"instance_id": instance})
        elif parts[0] not in self.world.held:
            self.answer(400, {"message": f"Instance_id {parts[0]} unknown"})
        else:
            self._use(method, parts[0], body)

    def _use(self, method: str, instance: str, body: Any) -> None:
        env = self.world.held[instance]
        if method == "reset":
            self.answer(200, {"observation": plain(env.reset()[0])})
        elif method == "step":
            names = ("observation", "reward", "done", "info")
            values = self.world.step(instance, body["action"])
            self.answer(200, dict(zip(names, values, strict=True)))
        elif method == "close":
            self.world.held.pop(instance).close()
            self.answer(204, kind="text/html; charset=utf-8")
        else:
            self.answer(200, {"info": describe(getattr(env, method), flat=True)})


@contextmanager
def old_http(*, keep_alive: bool = False, port: int = 0) -> Iterator[tuple[str, World]]:
    """Serve gym-http-api; gives the address and the world behind it."""
    world = World(8)
    names = {"world": world, "protocol_version": "HTTP/1.1" if keep_alive else "HTTP/1.0"}
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (OldHttp,), names))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", world
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for env in world.held.values():
            env.close()


# -- gymie ---------------------------------------------------------------------------------


class GymieRefusal(Exception):  # noqa: N818
    """Answered by closing the connection."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


def answer_gymie(world: World, connection: ServerConnection, message: str | bytes) -> None:
    """Answer one request as gymie did: bare text, bare NaN, errors as close frames."""
    request = json.loads(message)
    method, params = request["method"], request["params"]
    world.asked.append((method, params))
    fault = world.fault(method)
    if fault is not None:
        answer = fault()
        if answer is None:
            connection.close_socket()
        else:
            connection.send(answer)
        return
    if method == "make":
        try:
            connection.send(world.make(params["env_id"], params.get("seed")))
        except gymnasium.error.Error:
            raise GymieRefusal(1007, f"Environment `{params['env_id']}` not found") from None
        return
    instance = params["instance_id"]
    if instance not in world.held:
        raise GymieRefusal(1007, f"Instance `{instance}` not found")
    env = world.held[instance]
    if method == "reset":
        value: Any = plain(env.reset()[0])
    elif method == "step":
        action = np.asarray(params["action"], env.action_space.dtype)
        if not env.action_space.contains(action if action.ndim else action[()]):
            raise GymieRefusal(1007, f"Action `{params['action']}` is wrong")
        value = world.step(instance, params["action"])
    elif method == "close":
        world.held.pop(instance).close()
        value = True
    else:
        value = describe(getattr(env, method), flat=False)
    connection.send(json.dumps(value))


@contextmanager
def old_gymie(*, port: int = 0) -> Iterator[tuple[str, World]]:
    """Serve gymie at ``/gym``; gives the address and the world behind it."""
    world = World(32)
    connections: list[ServerConnection] = []

    def handle(connection: ServerConnection) -> None:
        connections.append(connection)
        try:
            for message in connection:
                try:
                    answer_gymie(world, connection, message)
                except GymieRefusal as refusal:
                    connection.close(refusal.code, refusal.reason)
        except ConnectionClosed:
            pass

    def only_gym(connection: ServerConnection, request: Any) -> Any:
        if request.path != "/gym":
            return connection.respond(200, "Gymie is running...")
        return None

    options: dict[str, Any] = {"process_request": only_gym, "close_timeout": 0.1}
    with serve(handle, "127.0.0.1", port, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/gym", world
        server.shutdown()
        for connection in connections:  # websockets before 17 leaves them open
            connection.close(1001)
        thread.join()
    for env in world.held.values():
        env.close()
