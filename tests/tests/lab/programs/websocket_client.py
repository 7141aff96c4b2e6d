"""Small and large messages, a ping, and a close by the server. Usage: websocket_client.py HOST PORT"""
import asyncio
import sys

import websockets


async def talk():
    async with websockets.connect(f"ws://{sys.argv[1]}:{sys.argv[2]}/", max_size=None) as connection:
        same = 0
        for number in range(500):
            await connection.send(str(number))
            same += await connection.recv() == str(number)
        print("messages", same)
        large = bytes(range(256)) * 40_000
        await connection.send(large)
        print("large", await connection.recv() == large)
        await asyncio.wait_for(await connection.ping(), 20)
        print("pong")
        await connection.send("go away")
        try:
            await connection.recv()
        except websockets.ConnectionClosed as closed:
            print("closed", closed.rcvd.code, closed.rcvd.reason)


asyncio.run(asyncio.wait_for(talk(), 60))
