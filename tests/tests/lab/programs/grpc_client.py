"""Calls grpc_server.py in each of the four ways, and once for a refusal. Usage: grpc_client.py HOST PORT"""
import sys
from hashlib import sha256

import grpc

with grpc.insecure_channel(f"{sys.argv[1]}:{sys.argv[2]}") as channel:
    unary = channel.unary_unary("/mesh.Test/Unary")
    print("unary", sum(unary(b"%d" % n, timeout=20) == (b"%d" % n)[::-1] for n in range(200)))
    counted = list(channel.unary_stream("/mesh.Test/Count")(b"20000", timeout=60))
    print("server streaming", len(counted), sha256(b",".join(counted)).hexdigest())
    total = channel.stream_unary("/mesh.Test/Total")(iter([b"x" * 1000] * 20000), timeout=60)
    print("client streaming", total.decode())
    echoed = list(channel.stream_stream("/mesh.Test/Echo")((b"%d" % n for n in range(5000)), timeout=60))
    print("both", len(echoed), sha256(b",".join(echoed)).hexdigest())
    try:
        channel.unary_unary("/mesh.Test/Refuse")(b"", timeout=20)
    except grpc.RpcError as error:
        print("refused", error.code().name, error.details())
