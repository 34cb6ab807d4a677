"""
A thread that notices when a body holds the event loop, and which, and where.

::

    every half second, while anything is under way: does the loop answer?
      └─ not for a second ──▶ a warning: asset, run, file and line
           └─ it answers ───▶ the event ``loop.held``
           └─ not until the hang limit ──▶ the process ends; others take over what it was at

The limit is counted in the thread's own ticks, so that a process which was stopped for a while did
not hang. Code that does not let any other thread run (a C function that keeps Python's lock) stops
this thread too: faulthandler's timer, which needs no Python, ends the process then.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Self

from flowstone.core.contracts.store import Claim

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
HELD_SECONDS = 1.0
"""Shorter holds are nobody's business."""

LAST_SECONDS = 5.0
"""How long the last words may take before the process ends without them."""

HUNG_EXIT_CODE = 1

_OURS = (os.path.dirname(__file__) + os.sep, os.path.dirname(asyncio.__file__) + os.sep)


@dataclass(frozen=True, slots=True)
class Hold:
    """
    One time that the loop was held.

    Attributes:
        claim: Whose body it was; None when nobody's, or that of a task which a body has made.
        where: File, line and function.
        seconds: How long, in the end.
    """

    claim: Claim | None
    where: str
    seconds: float


class LoopWatch:
    """
    Watches the event loop that it is made in, within ``with``.

    Args:
        claims: What is under way, by the task that is at it.
        tell: Called in the loop once it is free again.
        hang_limit: How long the loop may be held before the process is ended; None is for ever.
    """

    def __init__(
        self,
        claims: Callable[[], Sequence[tuple[Claim, asyncio.Task[None]]]],
        tell: Callable[[Hold], None],
        hang_limit: timedelta | None,
    ) -> None:
        self._claims = claims
        self._tell = tell
        self._limit = None if hang_limit is None else hang_limit.total_seconds()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._starting: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._limit is None:
            # Most runs in a process are over before a thread would be worth its price.
            self._starting = self._loop.call_later(TICK_SECONDS, self._start)
        else:
            self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._starting is not None:
            self._starting.cancel()
        self._stopped.set()

    def _start(self) -> None:
        threading.Thread(target=self._watch, name="flowstone-loop-watch", daemon=True).start()

    def _watch(self) -> None:
        rearm_at = 0.0
        while True:
            # Before anything runs, and again long before it would go off: each time costs a thread.
            if self._limit is not None and time.monotonic() >= rearm_at:
                rearm_at = time.monotonic() + self._limit * 0.1
                _end_process_in(self._limit * 1.1 + LAST_SECONDS)
            if self._stopped.wait(TICK_SECONDS):
                break
            if self._claims():
                self._watch_once()
        if self._limit is not None:
            faulthandler.cancel_dump_traceback_later()

    def _watch_once(self) -> None:
        answered = threading.Event()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop was closed
            return
        ticks = 0
        held: tuple[Claim | None, str] | None = None
        while not answered.wait(TICK_SECONDS):
            if self._stopped.is_set():
                return
            ticks += 1
            seconds = ticks * TICK_SECONDS
            if held is None and seconds >= HELD_SECONDS:
                held = self._warn(seconds)
            if self._limit is not None and seconds >= self._limit:
                self._end_process(seconds)
        if held is not None:
            claim, where = held
            hold = Hold(claim, where, ticks * TICK_SECONDS)
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, hold)

    def _warn(self, seconds: float) -> tuple[Claim | None, str]:
        claim, where = self._holder(), _place(self._frame())
        logger.warning(
            "%s has held the event loop for %.1f s, at %s; nothing else can go on meanwhile. "
            "Make it a plain function, which runs in a thread, or give it executor='process'",
            _named(claim),
            seconds,
            where,
        )
        return claim, where

    def _end_process(self, seconds: float) -> None:
        _end_process_in(LAST_SECONDS)  # whatever lock the last words may have to wait for
        frame = self._frame()
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        logger.critical(
            "%s has held the event loop for %.1f s, which is past the hang limit. This process "
            "ends now, and others take over what it was at.\n%s",
            _named(self._holder()),
            seconds,
            stack,
        )
        os._exit(HUNG_EXIT_CODE)

    def _holder(self) -> Claim | None:
        """Find whose task it is; one that a body has made itself is known by its place only."""
        task = asyncio.current_task(self._loop)
        return next((claim for claim, its_task in self._claims() if its_task is task), None)

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._loop_thread)


def _end_process_in(seconds: float) -> None:
    # Without a real stderr faulthandler has nowhere to write, and does not begin.
    with suppress(RuntimeError, ValueError, AttributeError, OSError):
        faulthandler.dump_traceback_later(seconds, exit=True)


def _named(claim: Claim | None) -> str:
    if claim is None:
        return "Something"
    return f"{claim.label},"


def _place(frame: FrameType | None) -> str:
    """Say where the author's code is; behind a call into a library, what it called."""
    innermost, authors = frame, frame
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        authors, frame = frame, frame.f_back
    if authors is None or innermost is None:
        return "an unknown place"
    place = f"{authors.f_code.co_filename}:{authors.f_lineno} in {authors.f_code.co_name}"
    return place if authors is innermost else f"{place} (in {innermost.f_code.co_qualname})"
