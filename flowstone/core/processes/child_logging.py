"""
What a child process logs is logged by its worker, with the worker's handlers, and the levels that
the worker had when it started the child.

Only while the child's own code does not configure logging otherwise: it may.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from flowstone.core.errors.root import printable

_NOT_SENT = {"args", "exc_info", "msg"}


def levels() -> dict[str, int]:
    """Return the levels that this process has set, by logger; the empty name is the root's."""
    known = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and logger.level
    }
    return {**known, "": logging.root.level}


class Forwarding(logging.Handler):
    """Hands each record to the worker."""

    def __init__(self, send: Callable[[Mapping[str, object]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send what the record says, as text where it is no JSON."""
        try:
            facts = {k: _plain(v) for k, v in vars(record).items() if k not in _NOT_SENT}
            facts["msg"] = record.getMessage()
            if record.exc_info and not record.exc_text:
                facts["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            self._send(facts)
        except Exception:
            self.handleError(record)


def forward(send: Callable[[Mapping[str, object]], None], given: Mapping[str, int]) -> None:
    """In a child: log like the worker whose levels these are."""
    for name, level in given.items():
        logging.getLogger(name or None).setLevel(level)
    logging.root.addHandler(Forwarding(send))


def handle(facts: Mapping[str, Any]) -> None:
    """In a worker: log what a child has logged."""
    record = logging.makeLogRecord(dict(facts))
    logging.getLogger(record.name).handle(record)


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return printable(value)
    return value
