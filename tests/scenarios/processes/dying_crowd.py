"""
Processes that die with a statement that many share.

``{"dsn": …, "lease": seconds, "steps": [[function, when], …]}``.

One for each step, ``before`` that statement is sent or ``after`` it was committed, when nobody has
heard of it yet. Each works on a queue of its own, ``<function>-<when>``; those that signal and
decide are given what to, ``"tokens"`` and ``"approvals"`` by queue. The parent ends with 0 when
all have died.
"""

import asyncio
import json
import os
import signal as signals
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from flowstone import FlowStone
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.rows import Row
from flowstone.engine.store import PostgresStore
from flowstone.plugins.checkpoints import approve
from flowstone.plugins.signal_gate import signal
from tests.scenarios.pipelines.crowd import crowd
from tests.scenarios.processes.life import argument, end_with_the_test

SLOTS = 20


def be_deadly(function: str, when: str) -> None:
    """Let this process die with the first statement of the function that several share."""
    call = PostgresStore.call

    async def deadly(
        store: PostgresStore, name: str, types: Sequence[str], *arguments: object, **options: Any
    ) -> Sequence[Row]:
        is_shared = name == function and _count(arguments[0]) > 1
        if is_shared and when == "before":
            os.kill(os.getpid(), signals.SIGKILL)
        found = await call(store, name, types, *arguments, **options)
        if is_shared:
            os.kill(os.getpid(), signals.SIGKILL)
        return found

    PostgresStore.call = deadly  # type: ignore[method-assign]


def _count(asked: object) -> int:
    return len(json.loads(asked) if isinstance(asked, str) else asked)  # type: ignore[arg-type]


async def live(given: Mapping[str, Any], queue: str) -> None:
    """Do many times at once what the queue is named after."""
    end_with_the_test()
    async with FlowStone(crowd, dsn=given["dsn"]) as app:
        if queue in given["tokens"]:
            await asyncio.gather(*(signal(app, it, "x") for it in given["tokens"][queue]))
        elif queue in given["approvals"]:
            await asyncio.gather(*(approve(app, it, by="ann") for it in given["approvals"][queue]))
        else:
            lease = timedelta(seconds=given["lease"])
            await app.worker(WorkerOptions({queue: SLOTS}, lease=lease)).run()


def main() -> int:
    given = argument()
    children = []
    for function, when in given["steps"]:
        pid = os.fork()
        if not pid:
            be_deadly(function, when)
            asyncio.run(live(given, f"{function}-{when}"))
            os._exit(0)
        children.append(pid)
    return sum(os.waitpid(it, 0)[1] != signals.SIGKILL for it in children)


if __name__ == "__main__":
    sys.exit(main())
