"""Sanic on uvloop, one process, with aiohttp as its client and Jinja2.

Sanic's community uses aiohttp or httpx. A page with httpx costs several times as much.
"""

import argparse
import asyncio

import aiohttp
from jinja2 import Environment, FileSystemLoader
from sanic import Sanic
from sanic.response import html

from common import API, API_TIMEOUT_S, BACKLOG, KEEP_ALIVE_S, TEMPLATES, raise_file_limit

environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, auto_reload=False)
user_template = environment.get_template("user.html")
list_template = environment.get_template("list.html")

app = Sanic("bench")
app.config.ACCESS_LOG = False
app.config.KEEP_ALIVE_TIMEOUT = KEEP_ALIVE_S
app.config.MOTD = False


@app.before_server_start
async def open_session(app):
    # The default of 100 connections would be the limit of 2000 pages/s at an API of 50 ms.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    app.ctx.session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=API_TIMEOUT_S),
        # Visitors share the session: the API's cookies are nobody's.
        cookie_jar=aiohttp.DummyCookieJar(),
        raise_for_status=True,
    )


@app.after_server_stop
async def close_session(app):
    await app.ctx.session.close()


async def fetch(path):
    async with app.ctx.session.get(API + path) as response:
        return await response.json()


@app.get("/users/<user_id:int>")
async def user(_request, user_id):
    return html(user_template.render(page=await fetch(f"/users/{user_id}")))


@app.get("/lists/<list_id:int>")
async def list_page(_request, list_id):
    found = await fetch(f"/lists/{list_id}")
    items = await asyncio.gather(*(fetch(f"/items/{number}") for number in found["items"]))
    return html(list_template.render(list=found, items=items))


@app.exception(aiohttp.ClientError, TimeoutError)
async def api_failed(_request, _error):
    return html("Bad Gateway", status=502)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    raise_file_limit()
    app.run(host="127.0.0.1", port=port, backlog=BACKLOG, single_process=True)


if __name__ == "__main__":
    main()
