"""Flask + requests + Jinja2, for all of gunicorn's workers."""

import os
from concurrent.futures import ThreadPoolExecutor

import requests
from flask import Flask, render_template
from gevent import monkey
from gevent.pool import Pool
from requests.adapters import HTTPAdapter

from common import API, API_TIMEOUT_S, TEMPLATES

# How many fetches of list pages a process has under way.
FETCH_THREADS = int(os.environ.get("FETCH_THREADS", "30"))
LIST_ITEMS = 30

app = Flask(__name__, template_folder=TEMPLATES)

session = requests.Session()
# The default of 10 would throw connections away whenever more than 10 fetches run at once.
session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=20_000))
# Spares a look at the environment's proxies and at ~/.netrc for each request.
session.trust_env = False

executor = ThreadPoolExecutor(FETCH_THREADS)


def fetch(path):
    response = session.get(API + path, timeout=API_TIMEOUT_S)
    response.raise_for_status()
    return response.json()


def fetch_all(paths):
    if monkey.is_module_patched("socket"):
        # Greenlets are cheap, so each page has its own: pages do not wait for each other.
        return Pool(LIST_ITEMS).map(fetch, paths)
    return list(executor.map(fetch, paths))


@app.get("/users/<int:user_id>")
def user(user_id):
    return render_template("user.html", page=fetch(f"/users/{user_id}"))


@app.get("/lists/<int:list_id>")
def list_page(list_id):
    found = fetch(f"/lists/{list_id}")
    items = fetch_all([f"/items/{number}" for number in found["items"]])
    return render_template("list.html", list=found, items=items)


@app.errorhandler(requests.RequestException)
def api_failed(_error):
    return "Bad Gateway", 502
