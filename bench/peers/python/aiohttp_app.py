"""aiohttp, server and client, on uvloop, with Jinja2."""

import argparse
import asyncio

import aiohttp
import uvloop
from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from common import API, API_TIMEOUT_S, BACKLOG, KEEP_ALIVE_S, TEMPLATES, raise_file_limit

environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, auto_reload=False)
user_template = environment.get_template("user.html")
list_template = environment.get_template("list.html")
session_key = web.AppKey("session", aiohttp.ClientSession)


async def session_context(app):
    # The default of 100 connections would be the limit of 2000 pages/s at an API of 50 ms.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=API_TIMEOUT_S),
        # Visitors share the session: the API's cookies are nobody's.
        cookie_jar=aiohttp.DummyCookieJar(),
        raise_for_status=True,
    ) as session:
        app[session_key] = session
        yield


async def fetch(session, path):
    async with session.get(API + path) as response:
        return await response.json()


async def user(request):
    page = await fetch(request.app[session_key], f"/users/{request.match_info['id']}")
    return web.Response(text=user_template.render(page=page), content_type="text/html")


async def list_page(request):
    session = request.app[session_key]
    found = await fetch(session, f"/lists/{request.match_info['id']}")
    items = await asyncio.gather(*(fetch(session, f"/items/{n}") for n in found["items"]))
    html = list_template.render(list=found, items=items)
    return web.Response(text=html, content_type="text/html")


@web.middleware
async def api_failed(request, handler):
    try:
        return await handler(request)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise web.HTTPBadGateway from error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    raise_file_limit()
    app = web.Application(middlewares=[api_failed])
    app.cleanup_ctx.append(session_context)
    app.router.add_get(r"/users/{id:\d+}", user)
    app.router.add_get(r"/lists/{id:\d+}", list_page)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        backlog=BACKLOG,
        keepalive_timeout=KEEP_ALIVE_S,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
