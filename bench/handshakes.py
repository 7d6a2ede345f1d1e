#!/usr/bin/env python3
"""Pages over kept-alive HTTPS connections, without and beside a flood of full TLS handshakes.

    python3 bench/handshakes.py 127.0.0.1:8443 --path / --seconds 10

The flood costs its sender nothing to compute: one ClientHello is made, and sent again and again on
new connections; each has the server agree on keys and sign. A connection is left as soon as the
first byte of the answer is there. Pin the server to a core of its own (`--workers 0,`), and this to
another (`taskset -c 1`), or it measures who gets the CPU.
"""

import argparse
import multiprocessing
import os
import selectors
import socket
import ssl
import time


def client_hello(name):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def flood(address, hello, at_once, seconds, counts):
    """So many handshakes at once, for so long. Counts those answered, refused and sent."""
    # Whoever measures goes first where they share a core.
    os.nice(10)
    selector = selectors.DefaultSelector()
    sent = answered = refused = open_now = 0
    end = time.monotonic() + seconds

    def start():
        nonlocal open_now
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(address)
        selector.register(connection, selectors.EVENT_WRITE)
        open_now += 1

    while time.monotonic() < end:
        while open_now < at_once:
            start()
        for key, events in selector.select(0.1):
            connection = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    connection.send(hello)
                    sent += 1
                    selector.modify(connection, selectors.EVENT_READ)
                    continue
                answered += 1 if connection.recv(1) else 0
            except OSError:
                refused += 1
            selector.unregister(connection)
            connection.close()
            open_now -= 1
    counts.put((sent, answered, refused))


def visit(address, name, path, visitors, rate, seconds):
    """The latency of each page, seconds: by turns on so many connections, so many a second."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connections = []
    for _ in range(visitors):
        connection = socket.create_connection(address, 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(context.wrap_socket(connection, server_hostname=name))
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    latencies, turn = [], 0
    begin = time.monotonic()
    while (due := begin + turn / rate) < begin + seconds:
        time.sleep(max(0, due - time.monotonic()))
        connection = connections[turn % visitors]
        # From when it was due: who waits for an earlier page waits for this one as well.
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(head.decode())
        fields = (line.partition(b":") for line in head.split(b"\r\n"))
        length = next(int(v) for n, _, v in fields if n.lower() == b"content-length")
        while len(body) < length:
            body += connection.recv(65536)
        latencies.append(time.monotonic() - due)
        turn += 1
    for connection in connections:
        connection.close()
    return latencies


def report(what, latencies):
    latencies.sort()
    at = lambda part: latencies[min(len(latencies) - 1, int(len(latencies) * part))] * 1000
    print(f"{what}: {len(latencies)} pages, p50 {at(.5):.2f} ms, p90 {at(.9):.2f} ms, "
          f"p99 {at(.99):.2f} ms, slowest {at(1):.2f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--name", default="localhost")
    parser.add_argument("--path", default="/")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--visitors", type=int, default=8, help="connections that are kept")
    parser.add_argument("--rate", type=float, default=200, help="pages a second of all of them")
    parser.add_argument("--at-once", type=int, default=256, help="handshakes at once, each flooder")
    parser.add_argument("--flooders", type=int, default=1, help="processes that flood")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    address, name = (host, int(port)), arguments.name
    pages = (arguments.path, arguments.visitors, arguments.rate, arguments.seconds)
    report("quiet", visit(address, name, *pages))
    counts = multiprocessing.Queue()
    flooding = [
        multiprocessing.Process(
            target=flood,
            args=(address, client_hello(name), arguments.at_once, arguments.seconds + 1, counts),
        )
        for _ in range(arguments.flooders)
    ]
    for process in flooding:
        process.start()
    time.sleep(0.5)
    latencies = visit(address, name, *pages)
    sent, answered, refused = map(sum, zip(*(counts.get() for _ in flooding)))
    for process in flooding:
        process.join()
    report("flood", latencies)
    seconds = arguments.seconds + 1
    print(f"flood: {sent / seconds:.0f} handshakes a second sent, {answered / seconds:.0f} "
          f"answered, {refused} refused")


if __name__ == "__main__":
    main()
