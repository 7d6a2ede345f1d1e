#!/usr/bin/env python3
"""Connections whose requests never end, beside visitors who want pages.

    python3 bench/slowloris.py --pid PID --url http://127.0.0.1:8080/users/1

Measures the pages' p99 with wrk, in rounds: alone, then beside the slow connections, each of which
sends another byte of a head every few seconds, and is opened anew when the server ends it. Prints
the medians, and the most that each connection adds to the server's memory. Needs wrk, and a server
with enough descriptors (ulimit -n). Give the server a core that wrk and this script do not use, or
what they take from it is measured too: `taskset -c 0` and `--workers 1` there, `taskset -c 1` here.
"""

import argparse
import asyncio
import re
import resource
import statistics
import urllib.parse

HEAD = b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: " + b"x" * 4096


async def slow(host, port, pause_s, opened, stop):
    """One slow connection after the other, until told to stop."""
    while not stop.is_set():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(pause_s)
            continue
        opened.append(1)
        try:
            for at in range(len(HEAD)):
                writer.write(HEAD[at : at + 1])
                await writer.drain()
                await asyncio.sleep(pause_s)
                if stop.is_set():
                    break
        except OSError:
            pass
        opened.pop()
        writer.close()


def resident_kib(pid):
    """The memory of a process, without what it shares."""
    text = open(f"/proc/{pid}/smaps_rollup", encoding="ascii").read()
    return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))


async def p99_ms(url, connections, seconds):
    """What wrk says of some seconds of load."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out = (await process.communicate())[0].decode()
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit("the pages failed:\n" + out)
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], rate


async def main():
    """Alone and beside, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pid", type=int, required=True, help="of the server")
    parser.add_argument("--url", required=True, help="of a page")
    parser.add_argument("--slow", type=int, default=10_000, help="slow connections")
    parser.add_argument("--pause", type=float, default=3, help="seconds between their bytes")
    parser.add_argument("--connections", type=int, default=50, help="of wrk")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url = urllib.parse.urlsplit(options.url)
    alone, beside, grown, before = [], [], [], None
    for _ in range(options.rounds):
        alone.append(await p99_ms(options.url, options.connections, options.seconds))
        # What an allocator keeps of one round is no growth in the next.
        before = before or resident_kib(options.pid)
        opened, stop = [], asyncio.Event()
        ask = (url.hostname, url.port or 80, options.pause, opened, stop)
        tasks = []
        for number in range(options.slow):
            tasks.append(asyncio.create_task(slow(*ask)))
            if number % 200 == 199:
                await asyncio.sleep(0.05)
        # Some are always between two connections.
        while len(opened) < options.slow * 0.98:
            await asyncio.sleep(0.1)
        await asyncio.sleep(options.pause)
        grown.append((resident_kib(options.pid) - before) / options.slow)
        beside.append(await p99_ms(options.url, options.connections, options.seconds))
        stop.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(1)
    for name, runs in [("alone", alone), ("beside", beside)]:
        p99 = statistics.median(run[0] for run in runs)
        rate = statistics.median(run[1] for run in runs)
        shown = ", ".join(f"{run[0]:.2f}" for run in runs)
        print(f"{name}: p99 {p99:.2f} ms (rounds: {shown}), {rate:.0f} pages/s")
    print(f"memory: {max(grown):.2f} KiB for each of {options.slow} connections")


if __name__ == "__main__":
    asyncio.run(main())
