"""Plays MountainCar through the three streams: pushes the car the way it is rolling."""

import json
import sys
import time

import zmq

LEFT, NOTHING, RIGHT = 0, 1, 2


def play(
    command_port: int = 5555,
    observation_port: int = 5556,
    reward_port: int = 5557,
    episodes: int = 2,
) -> list[float]:
    """Play some episodes, of which the first is half over when we come.

    Returns the rightmost position of each; the flag stands at 0.5.
    """
    with zmq.Context() as context:
        commands = context.socket(zmq.PUB)
        commands.linger = 0
        commands.bind(f"tcp://127.0.0.1:{command_port}")  # the server connects to us
        observations, rewards = context.socket(zmq.SUB), context.socket(zmq.SUB)
        for stream, port in ((observations, observation_port), (rewards, reward_port)):
            stream.connect(f"tcp://127.0.0.1:{port}")
            stream.subscribe(b"")
        try:
            return [play_episode(commands, observations, rewards) for _ in range(episodes)]
        finally:
            for socket in (commands, observations, rewards):
                socket.close()


def play_episode(commands, observations, rewards) -> float:
    farthest = -2.0
    while True:
        position, velocity = (item["value"] for item in observations.recv_json())
        (reward,) = (item["value"] for item in rewards.recv_json())
        if position == 9999.0:  # the inter-trial observation: the episode is over
            if farthest > -2.0:
                print(f"an episode ended; the car came to {farthest:.2f}")
                return farthest
            continue
        if position > farthest and reward is not None:
            farthest = position
        action = RIGHT if velocity >= 0 else LEFT
        commands.send_string(json.dumps([{"value": action, "ts": time.time()}]))


if __name__ == "__main__":
    play(episodes=int(sys.argv[1]) if len(sys.argv) > 1 else 2)
