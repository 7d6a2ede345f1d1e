#!/usr/bin/env python3
"""Connections whose requests never end, beside visitors who want pages.

    python3 bench/slowloris.py --pid PID --url http://127.0.0.1:8080/users/ --pace PROGRAM

Measures the pages' p99 with bench/pace (`cargo build --release --example pace`), at a constant rate
of visitors, in rounds: alone, then beside the slow connections, each of which sends another byte of
a head every few seconds, and is opened anew when the server ends it. Prints the medians, the most
that each connection adds to the server's memory, and how often they sent. Needs chrt (util-linux),
root for it, and a server with enough descriptors (ulimit -n). Give the server a core that nothing
else uses (`taskset -c 0`, `--workers 1`), and this another one (`taskset -c 1`): here the slow
connections have what time the visitors leave, so that it is not that which is measured.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import urllib.parse

HEAD = b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: " + b"x" * 4096


async def slow(host, port, pause_s, opened, sent, stop):
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
                sent.append(1)
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


async def p99_ms(options, url):
    """What pace says of some seconds of visitors."""
    command = ["chrt", "-o", "0", options.pace, f"--target={url.hostname}:{url.port or 80}"]
    command += [f"--path={url.path}", f"--rate={options.rate}", f"--seconds={options.seconds}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out = (await process.communicate())[0].decode().splitlines()
    told = json.loads(out[-1])
    if told["pages"] < told["arrived"]:
        raise SystemExit(f"pages failed: {out[-1]}")
    return told["page_ms"]["p99"]


async def main():
    """Alone and beside, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pid", type=int, required=True, help="of the server")
    parser.add_argument("--url", required=True, help="of pages, before their number")
    parser.add_argument("--pace", required=True, help="the program that plays the visitors")
    parser.add_argument("--rate", type=int, default=4000, help="visitors a second")
    parser.add_argument("--slow", type=int, default=10_000, help="slow connections")
    parser.add_argument("--pause", type=float, default=3, help="seconds between their bytes")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    url = urllib.parse.urlsplit(options.url)
    alone, beside, grown, bytes_s, before = [], [], [], [], None
    for _ in range(options.rounds):
        alone.append(await p99_ms(options, url))
        # What an allocator keeps of one round is no growth in the next.
        before = before or resident_kib(options.pid)
        opened, sent, stop = [], [], asyncio.Event()
        ask = (url.hostname, url.port or 80, options.pause, opened, sent, stop)
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
        started = len(sent)
        beside.append(await p99_ms(options, url))
        bytes_s.append((len(sent) - started) / options.seconds)
        stop.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(1)
    for name, runs in [("alone", alone), ("beside", beside)]:
        shown = ", ".join(f"{run:.2f}" for run in runs)
        print(f"{name}: p99 {statistics.median(runs):.2f} ms (rounds: {shown})")
    print(f"ratio: {statistics.median(b / a for a, b in zip(alone, beside)):.2f}")
    print(f"sent: {min(bytes_s):.0f} bytes a second of heads that never end")
    print(f"memory: {max(grown):.2f} KiB for each of {options.slow} connections")


if __name__ == "__main__":
    asyncio.run(main())
