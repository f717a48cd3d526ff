"""A python-socketio client that is controlled over stdin, and reports received events over stdout, one JSON value per line.

In:  {"event": name, "args": [...], "ask": number or null}, or {"close": true}
Out: {"connected": transport}, {"event": name, "args": [...]}, {"answer": number, "args": [...]}
"""

import asyncio
import json
import sys

import socketio

EVENTS = ["room-users", "room-joined", "user-joined", "user-left", "user-away", "user-back", "offer", "answer", "ice-candidate", "error"]


def say(**line):
    print(json.dumps(line), flush=True)


def listen(client, event):
    client.on(event, lambda *args: say(event=event, args=args))


async def emit(client, event, args, ask):
    answered = None if ask is None else lambda *answer: say(answer=ask, args=answer)
    await client.emit(event, tuple(args), callback=answered)


async def main(url, transports):
    client = socketio.AsyncClient(reconnection=False)
    for event in EVENTS:
        listen(client, event)
    await client.connect(url, transports=transports, wait_timeout=5)
    say(connected=client.transport())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        if command.get("close"):
            break
        await emit(client, command["event"], command["args"], command["ask"])
    await client.disconnect()


asyncio.run(main(sys.argv[1], sys.argv[2].split(",")))
