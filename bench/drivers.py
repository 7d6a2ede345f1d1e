#!/usr/bin/env python3
"""The drivers side by side, on the page of bench/site: CPU time a page, rate, latency, memory.

The server has CPU 0 to itself; its API and wrk share CPU 1. The drivers take turns, round by
round, since a machine's speed drifts. CPU time is user and system time of all threads of the
server, over the pages it served. Needs Linux, two CPUs, cargo and wrk.

    python3 bench/drivers.py                                          # 64 connections, no delay
    python3 bench/drivers.py --delay-ms 500 --connections 4000        # an API having a bad day
    python3 bench/drivers.py --idle 10000                             # memory of idle connections
"""

import argparse
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
API = "127.0.0.1:9100"
FIRST_PORT = 9200


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--drivers", default="monoio,epoll,tokio-uring")
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the API takes")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of one round")
    parser.add_argument("--idle", type=int, default=0, help="measure memory of so many instead")
    options = parser.parse_args()
    if shutil.which("wrk") is None and not options.idle:
        sys.exit("wrk is missing: apt-get install wrk")
    if os.cpu_count() < 2:
        sys.exit("two CPUs are needed: one for the server, one for the load and the API")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--bin", "ringpress", "--example", "mock-api"],
        cwd=ROOT,
        check=True,
    )
    print(header())
    api = Program("examples/mock-api", "--listen", API, "--delay-ms", str(options.delay_ms), "--cpu", "1")
    servers = {}
    try:
        for number, driver in enumerate(options.drivers.split(",")):
            servers[driver] = Server(driver, FIRST_PORT + number)
        if options.idle:
            for driver, server in servers.items():
                print(f"{driver:12} {server.idle_bytes(options.idle):6} bytes an idle connection")
        else:
            measure(servers, options)
    finally:
        for program in [*servers.values(), api]:
            program.end()


def header():
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    name = model.group(1) if model else platform.machine()
    return f"{os.cpu_count()} CPUs ({name}), Linux {platform.release()}, commit {commit}"


class Program:
    """A program of this repository, up when it says where it listens."""

    def __init__(self, name, *arguments):
        command = [os.path.join(ROOT, "target/release", name), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        if "listening" not in self.process.stdout.readline():
            sys.exit(f"{' '.join(command)} did not start: run it to see why")

    def end(self):
        self.process.terminate()
        self.process.wait()


class Server(Program):
    def __init__(self, driver, port):
        self.port = port
        site = os.path.join(ROOT, "bench/site")
        listen = f"127.0.0.1:{port}"
        super().__init__("ringpress", "serve", site, "--workers", "0,", "--driver", driver, "--listen", listen)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1)) * 1024

    def idle_bytes(self, count):
        """Memory that one connection holds after a page, the kernel's own not counted."""
        self.page().close()
        before = self.memory_bytes()
        connections = [self.page() for _ in range(count)]
        time.sleep(1)
        held = self.memory_bytes() - before
        for connection in connections:
            connection.close()
        return held // count

    def page(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(b"GET /users/7 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page = b""
        while b"</html>" not in page:
            received = connection.recv(65536)
            if not received:
                sys.exit("the server closed a connection in the middle of a page")
            page += received
        return connection


def measure(servers, options):
    spent = {driver: [] for driver in servers}
    for _ in range(options.rounds):
        for driver, server in servers.items():
            before = server.cpu_seconds()
            output = load(server.port, options)
            cpu = server.cpu_seconds() - before
            pages = int(re.search(r"(\d+) requests in", output).group(1))
            errors = re.findall(r"Socket errors.*|Non-2xx.*", output)
            rate, p50, p99 = (
                re.search(pattern, output).group(1)
                for pattern in (r"Requests/sec:\s+(\S+)", r"\n\s+50%\s+(\S+)", r"\n\s+99%\s+(\S+)")
            )
            spent[driver].append(cpu / pages * 1e6)
            print(
                f"{driver:12} {spent[driver][-1]:6.1f} µs a page  {rate:>9} a second"
                f"  p50 {p50:>8}  p99 {p99:>8}  {server.memory_bytes() >> 20:4} MiB",
                *errors,
                flush=True,
            )
    for driver, values in spent.items():
        middle = statistics.median(values)
        print(f"{driver:12} {middle:6.1f} µs a page (median; {min(values):.1f} to {max(values):.1f})")


def load(port, options):
    script = os.path.join(ROOT, "bench/users.lua")
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{options.connections}", "--latency"]
    command += [f"-d{options.seconds}s", "--timeout", "10s", "-s", script, f"http://127.0.0.1:{port}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
