"""A shuttle on a track of eight stations, wanted at the last one: a system that speaks NATS."""

import asyncio
import base64
import sys

import nats
import numpy as np

STATIONS = np.eye(8)
track = STATIONS[0].copy()  # 1 where the shuttle is


async def answer(message):
    vector = []
    match message.subject:
        case "rl.update":
            vector = track
        case "rl.reward":
            vector = [-1]
        case "rl.actions":
            vector = [0, 1]
        case "r.done":
            vector = [1 if track[-1] else -1]
        case "rl.reset":
            track[:] = STATIONS[0]
        case "rl.action":
            forward = np.frombuffer(base64.b64decode(message.data)) == 1
            track[:] = STATIONS[np.clip(track.argmax() + (1 if forward else -1), 0, 7)]
    await message.respond(base64.b64encode(np.array(vector, np.float64).tobytes()))


async def main():
    client = await nats.connect(sys.argv[1])
    for subject in ("rl.*", "r.done"):
        await client.subscribe(subject, cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
