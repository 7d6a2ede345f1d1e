#!/usr/bin/env python3
"""Pages that all wait for their API at once, and the memory that each takes.

    cargo build --release && cargo build --release --example mock-api
    python3 bench/waiting.py

Starts servers of one worker each: as many as it takes, since a page that waits has two descriptors
in its server, and a process may have only so many (ulimit -Hn). Asks each for a few hundred pages,
one after the other, so that it knows how large the API's answers are (`--cold`: does not). Then the
API takes forty seconds, and one page is asked for on each of as many connections. When all of them
wait, the servers' memory (PSS: what they share is divided among them) is compared with what they
took before; that each page is answered is seen at the end. The sockets' own memory is the kernel's,
and not in it.
"""

import argparse
import asyncio
import pathlib
import re
import resource
import subprocess
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
LONG = '"120s"'
PATIENCE = f"deadline = {LONG}"
REQUEST = b"GET /users/%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Visitor(asyncio.Protocol):
    """One who asks for one page, and waits for it."""

    def __init__(self, number, answers):
        self.number, self.answers, self.begin = number, answers, b""

    def connection_made(self, transport):
        transport.write(REQUEST % self.number)

    def data_received(self, data):
        self.begin = (self.begin + data)[:12]

    def connection_lost(self, exc):
        self.answers.append(self.begin)


def pss_bytes(process):
    """The memory of a process, with its part of what it shares."""
    text = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"^Pss: +(\d+) kB", text, re.M)[1]) * 1024


async def start(command, port):
    """A process, when its port is open."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return process
        except OSError:
            await asyncio.sleep(0.1)
    raise SystemExit(f"{command[0]} has ended with {process.returncode}")


def copy_site(folder, port, api):
    """bench/site, on other ports and with more patience."""
    for template in FOLDER.joinpath("site").glob("*.html"):
        folder.joinpath(template.name).write_bytes(template.read_bytes())
    text = FOLDER.joinpath("site/site.toml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    text = text.replace("127.0.0.1:9100", f"127.0.0.1:{api}")
    text = text.replace('deadline = "10s"', f"{PATIENCE}\nheader_timeout = {LONG}\nconnect_timeout = {LONG}")
    text = text.replace("[[page]]", f"[[page]]\n{PATIENCE}")
    folder.joinpath("site.toml").write_text(text, encoding="utf-8")


async def warm(port, pages):
    """Asks for pages one after the other, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(pages):
        writer.write((REQUEST % (number + 1)).replace(b"Connection: close\r\n", b""))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: *(\d+)", head)[1]))
    writer.close()


def end(processes):
    """Ends what was started last first."""
    while processes:
        process = processes.pop()
        process.terminate()
        process.wait()


async def measure(options, folder, processes, apis):
    """Starts all, lets all wait, and tells."""
    api = ["taskset", "-c", "1", options.api, f"--listen=127.0.0.1:{options.port}"]
    apis.append(await start(api, options.port))
    ports = [options.port + 1 + number for number in range(options.servers)]
    servers = []
    for port in ports:
        site = folder / str(port)
        site.mkdir()
        copy_site(site, port, options.port)
        command = [options.server, "serve", site, "--workers", "1", "--driver", options.driver]
        servers.append(await start(["taskset", "-c", "0", *command], port))
        processes.append(servers[-1])
        await warm(port, 0 if options.cold else 300)
    end(apis)
    apis.append(await start(api + [f"--delay-ms={options.delay * 1000}"], options.port))
    await asyncio.sleep(1)
    before, answers = [pss_bytes(server) for server in servers], []
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for first in range(0, options.pages, 100):
        batch = range(first, min(first + 100, options.pages))
        visit = [
            loop.create_connection(
                lambda number=number: Visitor(number % 1000 + 1, answers),
                "127.0.0.1",
                ports[number % len(ports)],
            )
            for number in batch
        ]
        await asyncio.gather(*visit)
        # As many connections to the API are opened besides, by who has the other core.
        await asyncio.sleep(0.05)
    # The last ones are on their way to the API.
    await asyncio.sleep(2)
    waiting = options.pages - len(answers)
    grown = [pss_bytes(server) - was for server, was in zip(servers, before)]
    if waiting < options.pages or loop.time() - begun > options.delay:
        raise SystemExit("some were answered before all waited: a longer --delay, or fewer --pages")
    while len(answers) < options.pages:
        await asyncio.sleep(0.2)
    pages = sum(answer == b"HTTP/1.1 200" for answer in answers)
    print(f"{waiting} pages waiting at once in {options.servers} servers, {pages} of them answered")
    each = ", ".join(f"{part / 2**20:.1f}" for part in grown)
    print(f"memory: {sum(grown) / options.pages / 1024:.2f} KiB a page (servers grew by {each} MiB)")
    if pages < options.pages:
        raise SystemExit(f"what the others were told: {set(answers) - {b'HTTP/1.1 200'}}")


async def main():
    """Reads the options, and ends what was started."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    built = FOLDER.parent / "target/release"
    parser.add_argument("--server", default=built / "ringpress", help="the program")
    parser.add_argument("--api", default=built / "examples/mock-api", help="the API's program")
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--pages", type=int, default=19_000, help="that wait at once")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="servers that had no request before")
    parser.add_argument("--delay", type=int, default=40, help="seconds that the API takes")
    parser.add_argument("--port", type=int, default=9400, help="of the API; the servers' come next")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    processes, apis = [], []
    with tempfile.TemporaryDirectory() as folder:
        try:
            await measure(options, pathlib.Path(folder), processes, apis)
        finally:
            end(processes)
            end(apis)


if __name__ == "__main__":
    asyncio.run(main())
