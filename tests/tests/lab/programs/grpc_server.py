"""A gRPC service without generated code: messages are bytes. Usage: grpc_server.py PORT"""
import sys
from concurrent import futures

import grpc


def count(request, _context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, _context):
    return b"%d" % sum(len(request) for request in requests)


def echo(requests, _context):
    yield from requests


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _context: request[::-1]),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Refuse": grpc.unary_unary_rpc_method_handler(
        lambda _request, context: context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    ),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("mesh.Test", METHODS)])
if server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}") == 0:
    sys.exit("the port is taken")
server.start()
server.wait_for_termination()
