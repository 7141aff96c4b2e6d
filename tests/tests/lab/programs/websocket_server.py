"""Sends every message back, and closes with a code when told to. Usage: websocket_server.py PORT"""
import asyncio
import sys

import websockets


async def answer(connection, _path=None):
    async for message in connection:
        if message == "go away":
            await connection.close(4001, "as asked")
        else:
            await connection.send(message)


async def serve():
    async with websockets.serve(answer, "0.0.0.0", int(sys.argv[1]), max_size=None):
        await asyncio.Future()


asyncio.run(serve())
