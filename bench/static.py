#!/usr/bin/env python3
"""Static files: requests for each second of CPU time, ours and nginx's with sendfile, in turns.

    python3 bench/static.py --ringpress target/release/ringpress

Makes files of 1 KB, 100 KB and 10 MB, serves them with one worker each, and asks for one after the
other with wrk. The CPU time is that of all threads of the server, user and system, out of
/proc/PID/stat. Prints the medians of the rounds with all of them, and the ratio. Needs nginx and
wrk. Give the servers a core that nothing else uses (`--server-cpu 0`), and wrk another
(`--client-cpu 1`).
"""

import argparse
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

SIZES = [("1k.bin", 1000), ("100k.bin", 100_000), ("10m.bin", 10_000_000)]
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 1s;
  server {{ listen 127.0.0.1:{port}; root {folder}; etag on; }}
}}
"""
SITE = """
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
[[static]]
path = "/files/{{file*}}"
dir = "files"
"""


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def cpu_s(pid):
    """CPU time of a process, seconds."""
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(command, cpu, port, name, size):
    """Starts a server, and waits until it serves a file whole."""
    command = [str(part) for part in command]
    if cpu is not None:
        command = ["taskset", "-c", str(cpu)] + command
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/files/{name}") as answer:
                if len(answer.read()) != size:
                    raise SystemExit(f"{command[0]} serves something else")
            return server
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise SystemExit(f"{command[0]} does not serve")


def ask(server, port, name, options):
    """Requests for each second of CPU time."""
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s"]
    if options.client_cpu is not None:
        command = ["taskset", "-c", str(options.client_cpu)] + command
    before = cpu_s(server.pid)
    out = subprocess.run(
        command + [f"http://127.0.0.1:{port}/files/{name}"], capture_output=True, text=True
    ).stdout
    used = cpu_s(server.pid) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    return int(re.search(r"(\d+) requests in", out).group(1)) / max(used, 0.01)


def main():
    """Ours and nginx's, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--ringpress", type=pathlib.Path, default="target/release/ringpress")
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--driver", default="auto")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server-cpu", type=int)
    parser.add_argument("--client-cpu", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "files").mkdir()
        for name, size in SIZES:
            (folder / "files" / name).write_bytes(os.urandom(size))
        ports = {"ringpress": free_port(), "nginx": free_port()}
        (folder / "site.toml").write_text(SITE.format(port=ports["ringpress"]))
        (folder / "nginx.conf").write_text(NGINX.format(port=ports["nginx"], folder=folder))
        commands = {
            "ringpress": [options.ringpress, "serve", folder, "--driver", options.driver],
            "nginx": [options.nginx, "-p", folder, "-c", folder / "nginx.conf"],
        }
        servers = {}
        try:
            for name, command in commands.items():
                servers[name] = start(command, options.server_cpu, ports[name], *SIZES[0])
            for name, _ in SIZES:
                rates = {"ringpress": [], "nginx": []}
                for _ in range(options.rounds):
                    for who, runs in rates.items():
                        runs.append(ask(servers[who], ports[who], name, options))
                for who, runs in rates.items():
                    shown = ", ".join(f"{run:.0f}" for run in runs)
                    middle = statistics.median(runs)
                    print(f"{name} {who}: {middle:.0f} requests a CPU second (rounds: {shown})")
                pairs = zip(rates["ringpress"], rates["nginx"])
                print(f"{name} ratio: {statistics.median(a / b for a, b in pairs):.2f}")
        finally:
            for server in servers.values():
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
