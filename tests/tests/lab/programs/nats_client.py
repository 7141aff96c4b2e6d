"""The NATS protocol by hand: subscribe, publish, ping, and an error that ends the connection. Usage: nats_client.py HOST PORT"""
import socket
import sys
from hashlib import sha256

MESSAGES = 5000
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as connection:
    lines = connection.makefile("rb")
    print("greets", lines.readline()[:5].decode())
    published = b"".join(b"PUB mesh %d\r\n%d\r\n" % (len(str(n)), n) for n in range(MESSAGES))
    connection.sendall(b'CONNECT {"verbose":false}\r\nSUB mesh 1\r\n' + published + b"PING\r\n")
    received = []
    while (line := lines.readline()) != b"PONG\r\n":
        if line.startswith(b"MSG"):
            received.append(lines.readline().strip())
    print("received", len(received), sha256(b",".join(received)).hexdigest())
    connection.sendall(b"NONSENSE\r\n")
    print("refused", lines.readline().strip().decode(), lines.read())
