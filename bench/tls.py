#!/usr/bin/env python3
"""What TLS costs: CPU time of a connection with a full handshake, a resumed one, and none, beside
nginx; and of a page over kept connections, plain, with TLS, and over HTTP/2.

    python3 bench/tls.py --ringpress target/release/ringpress --api target/release/examples/mock-api

Needs two CPUs, openssl, and from Debian nginx, wrk and nghttp2-client (h2load). The server has CPU 0,
all else CPU 1. A connection is opened, asks for a page that is not there, and is closed: what the
handshake costs is the difference to one without. Servers take turns, round by round.
"""

import argparse
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import time

CLIENTS = 4
PORTS = {"ringpress": (9301, 9302), "nginx": (9201, 9202)}
API_PORT = 9101
REQUEST = b"GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NGINX = """worker_processes 1; daemon off; pid {0}/nginx.pid; error_log {0}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off;
  client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
  uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  server {{ listen 127.0.0.1:{1}; listen 127.0.0.1:{2} ssl; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {0}/site.pem; ssl_certificate_key {0}/site.key;
    location / {{ return 404 "no such page"; }} }} }}
"""


def cpu_s(pid):
    """CPU time of a process and its children that run."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    ticks = 0
    for one in [pid, *map(int, children.split())]:
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def connect(kind, port, context, session):
    """One connection. Whether its session was resumed, and one to resume."""
    stream = socket.create_connection(("127.0.0.1", port))
    if kind != "none":
        earlier = session if kind == "resumed" else None
        stream = context.wrap_socket(stream, server_hostname="localhost", session=earlier)
    stream.sendall(REQUEST)
    while stream.recv(65536):
        pass
    outcome = (stream.session_reused, stream.session) if kind != "none" else (False, None)
    stream.close()
    return outcome


def visit(kind, port, authority, seconds, queue):
    context = ssl.create_default_context(cafile=authority)
    session, count, resumed = None, 0, 0
    if kind == "resumed":
        _, session = connect("full", port, context, None)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        was_resumed, session = connect(kind, port, context, session)
        count, resumed = count + 1, resumed + bool(was_resumed)
    queue.put((count, resumed))


def visit_all(kind, port, authority, seconds):
    queue = multiprocessing.Queue()
    arguments = (kind, port, authority, seconds, queue)
    clients = [multiprocessing.Process(target=visit, args=arguments) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    counts = [queue.get(timeout=seconds + 30) for _ in clients]
    for client in clients:
        client.join()
    count, resumed = (sum(each) for each in zip(*counts))
    if resumed != (count if kind == "resumed" else 0):
        raise SystemExit(f"{kind}: {resumed} of {count} sessions were resumed")
    return count


def start(command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["taskset", "-c", "0", *command], **quiet)
    time.sleep(1)
    return process


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(15)


def connections(server, process, authority, seconds, figures):
    plain, secure = PORTS[server]
    for kind in ("none", "full", "resumed"):
        port = plain if kind == "none" else secure
        visit_all(kind, port, authority, 0.5)
        before = cpu_s(process.pid)
        count = visit_all(kind, port, authority, seconds)
        cost_us = (cpu_s(process.pid) - before) / count * 1e6
        figures.setdefault(f"{server}, {kind}", []).append(cost_us)


def pages(process, folder, seconds, figures):
    plain, secure = PORTS["ringpress"]
    script = folder / "pages.lua"
    script.write_text(
        "local n = 0\nrequest = function()\n  n = n + 1\n"
        "  return wrk.format('GET', '/users/' .. n % 100000)\nend\n"
    )
    wrk = ["wrk", "-t1", "-c64", f"-d{seconds}", "-s", str(script)]
    h2load = ["h2load", "-c", "8", "-m", "8", "-D", str(seconds)]
    for kind, command, count in (
        ("page, plain", [*wrk, f"http://127.0.0.1:{plain}/"], r"(\d+) requests in"),
        ("page, TLS", [*wrk, f"https://127.0.0.1:{secure}/"], r"(\d+) requests in"),
        ("page, HTTP/2", [*h2load, f"https://127.0.0.1:{secure}/users/42"], r"(\d+) 2xx"),
    ):
        before = cpu_s(process.pid)
        out = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60).stdout
        found = re.search(count, out)
        if found is None or "Non-2xx" in out:
            raise SystemExit(f"{kind}: {out}")
        cost_us = (cpu_s(process.pid) - before) / int(found[1]) * 1e6
        figures.setdefault(kind, []).append(cost_us)


def site(folder):
    """The benchmark's site with a certificate."""
    source = pathlib.Path(__file__).parent / "site"
    for file in source.rglob("*"):
        if file.is_file():
            place = folder / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    text = (folder / "site.toml").read_text()
    plain, secure = PORTS["ringpress"]
    listen = f'listen = ["127.0.0.1:{plain}"]\nlisten_tls = ["127.0.0.1:{secure}"]'
    text = re.sub(r"listen = .*", listen, text, count=1)
    table = '[[server.tls]]\ncertificate = "site.pem"\nkey = "site.key"\n\n[upstreams.api]'
    text = text.replace("[upstreams.api]", table, 1)
    text = re.sub(r"http://127\.0\.0\.1:\d+", f"http://127.0.0.1:{API_PORT}", text)
    (folder / "site.toml").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ringpress", required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        site(folder)
        authority = str(folder / "site.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", f"{name}/site.key", "-out", authority],
            check=True, capture_output=True,
        )
        (folder / "nginx.conf").write_text(NGINX.format(name, *PORTS["nginx"]))
        servers = {
            "ringpress": [options.ringpress, "serve", name, "--workers", "1"],
            "nginx": ["nginx", "-c", f"{name}/nginx.conf"],
        }
        api = subprocess.Popen(
            ["taskset", "-c", "1", options.api, "--listen", f"127.0.0.1:{API_PORT}",
             "--delay-ms", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        figures = {}
        try:
            for _ in range(options.rounds):
                for server, command in servers.items():
                    process = start(command)
                    try:
                        connections(server, process, authority, options.seconds, figures)
                        if server == "ringpress":
                            pages(process, folder, options.seconds, figures)
                    finally:
                        stop(process)
        finally:
            api.kill()
    for kind, costs in figures.items():
        median, low, high = statistics.median(costs), min(costs), max(costs)
        print(f"{kind:22} {median:7.1f} us ({low:.1f}-{high:.1f})")


if __name__ == "__main__":
    main()
