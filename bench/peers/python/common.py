"""What the Python contenders share: where the API is, and enough file descriptors."""

import os
import resource
from pathlib import Path

API = os.environ["API"]
API_TIMEOUT_S = 10
KEEP_ALIVE_S = 75
BACKLOG = 4096
TEMPLATES = Path(__file__).parent / "templates"


def raise_file_limit():
    """A connection is a descriptor; the usual soft limit of 1024 would be the first bottleneck."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
