"""Prints one line with the versions of Python and of the distributions it is asked for."""

import platform
import sys
from importlib.metadata import version

names = sys.argv[1:]
print(", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)]))
