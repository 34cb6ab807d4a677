"""What every process of a scenario does: read its argument, and end with the test."""

import asyncio
import json
import logging
import os
import sys
from importlib import import_module
from typing import Any

from flowstone import Pipeline


def argument() -> dict[str, Any]:
    """Return the JSON object that the test has passed."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(levelname)s %(message)s")
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def pipeline(name: str) -> Pipeline:
    """Return the pipeline of that name: each has a module of its own."""
    found: Pipeline = getattr(import_module(f"tests.scenarios.pipelines.{name}"), name)
    return found


def end_with_the_test() -> None:
    """End at once when standard input does: the test's process is gone."""

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            os._exit(70)

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), look)
