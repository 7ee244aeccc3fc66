"""A shuttle on a track of eight stations, which answers on NATS: it is wanted at the last one."""

import asyncio
import base64
import sys

import nats
import numpy as np

STATIONS = 8
station = 0


def vector(*values):
    return base64.b64encode(np.array(values, "<f8"))


def act(data):
    global station
    forward = np.frombuffer(base64.b64decode(data), "<f8")[0] == 1
    station = min(station + 1, STATIONS - 1) if forward else max(station - 1, 0)
    return b""


def reset(data):
    global station
    station = 0
    return b""


ANSWERS = {
    "rl.update": lambda data: vector(*np.arange(STATIONS) == station),
    "rl.reward": lambda data: vector(-1.0),
    "rl.action": act,
    "rl.reset": reset,
    "rl.actions": lambda data: vector(0, 1),
    "r.done": lambda data: vector(1 if station == STATIONS - 1 else -1),
}


async def main(url):
    client = await nats.connect(url)

    async def answer(message):
        await message.respond(ANSWERS[message.subject](message.data))

    for subject in ANSWERS:
        await client.subscribe(subject, cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
