"""For deploy/test-many: an API, a load that is the same whatever happens, and a question to HAProxy.

    many.py api ADDRESS PORT DELAY_MS
    many.py load ADDRESS PORT RATE          until TERM; prints counts as JSON
    many.py ask SOCKET COMMAND              a command to HAProxy's socket

Only Python's standard library.
"""

import asyncio
import collections
import json
import signal
import socket
import sys
import time

PATIENCE_S = 20
KEPT_MAX = 200


async def api(address, port, delay_ms):
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(delay_ms / 1000)
                user = head.split()[1].rsplit(b"/", 1)[-1].decode()
                body = json.dumps({"id": user}).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, port, backlog=1024)
    await server.serve_forever()


class Load:
    """A request every so often, whether others were answered or not. Every second one has a new
    connection, the others take one that was kept. A request that was sent and did not get its page
    has failed, for whatever reason; nothing is tried again."""

    def __init__(self, address, port, rate):
        self.address, self.port, self.rate = address, port, rate
        self.kept = collections.deque()
        self.answered_by = collections.Counter()
        self.failed = collections.Counter()
        self.first_failures = []
        self.sent = self.new = 0
        self.latencies = []

    async def run(self):
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        start, tasks = time.monotonic(), set()
        print("loading", flush=True)
        while not stop.is_set():
            await asyncio.sleep(max(0, start + self.sent / self.rate - time.monotonic()))
            task = asyncio.create_task(self.visit(self.sent))
            self.sent += 1
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_S)
        return self.report(time.monotonic() - start, len(tasks))

    async def visit(self, number):
        began = time.monotonic()
        try:
            await asyncio.wait_for(self.ask(number, keep=number % 2 == 0), PATIENCE_S)
            self.latencies.append(time.monotonic() - began)
        except Exception as error:  # Whatever it is, this visitor has no page.
            what = str(error) if isinstance(error, Wrong) else type(error).__name__
            self.failed[what] += 1
            if len(self.first_failures) < 10:
                self.first_failures.append({"at": round(began, 2), "request": number, "what": what})

    async def ask(self, number, keep):
        reader, writer = self.take() if keep else (None, None)
        if reader is None:
            reader, writer = await asyncio.open_connection(self.address, self.port)
            self.new += 1
        try:
            field = b"" if keep else b"Connection: close\r\n"
            writer.write(b"GET /users/%d HTTP/1.1\r\nHost: many\r\n%s\r\n" % (number, field))
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            fields = dict(
                line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
            )
            body = await reader.readexactly(int(fields[b"content-length"]))
            if status != 200:
                # HAProxy's own pages have no such field.
                who = "ringpress" if b"content-security-policy" in fields else "HAProxy"
                raise Wrong(f"status {status} of {who}")
            words = body.decode().split()
            if len(words) != 3 or words[0] != str(number):
                raise Wrong("another page")
            self.answered_by[words[2]] += 1
            if keep and fields.get(b"connection") != b"close" and len(self.kept) < KEPT_MAX:
                self.kept.append((reader, writer))
                writer = None
        finally:
            if writer is not None:
                writer.close()

    def take(self):
        while self.kept:
            reader, writer = self.kept.popleft()
            # One that was closed meanwhile is no failure: any browser takes another.
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None, None

    def report(self, seconds, unanswered):
        if unanswered:
            self.failed["unanswered"] += unanswered
        ordered = sorted(self.latencies)

        def part(share):
            return round(1000 * ordered[int(share * (len(ordered) - 1))], 1) if ordered else None

        return {
            "seconds": round(seconds, 1),
            "sent": self.sent,
            "answered": sum(self.answered_by.values()),
            "answered_by": dict(sorted(self.answered_by.items())),
            "new_connections": self.new,
            "failed": sum(self.failed.values()),
            "failed_by": dict(self.failed),
            "first_failures": self.first_failures,
            "p50_ms": part(0.5),
            "p99_ms": part(0.99),
            "max_ms": part(1),
        }


class Wrong(Exception):
    """An answer that is not the page."""


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    print(answer.decode(), end="")


def main():
    match sys.argv[1:]:
        case ["api", address, port, delay_ms]:
            asyncio.run(api(address, int(port), float(delay_ms)))
        case ["load", address, port, rate]:
            report = asyncio.run(Load(address, int(port), float(rate)).run())
            print(json.dumps(report), flush=True)
        case ["ask", path, command]:
            ask(path, command)
        case _:
            sys.exit(__doc__)


main()
