"""
A worker in a process of its own.

``{"dsn": …, "schema": "flowstone", "pipelines": [name, …], "queues": ["default"], "slots": 4,
"options": {"lease": seconds, …}}``; durations among the options are seconds. SIGTERM stops it.
"""

import asyncio
import signal
from datetime import timedelta
from typing import Any

from flowstone import FlowStone
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.worker_options import WorkerOptions
from tests.scenarios.pipelines.filed import IO
from tests.scenarios.processes.life import argument, end_with_the_test, pipeline

DURATIONS = {"lease", "poll_interval", "hang_limit", "shutdown_timeout"}


def options(queues: list[str], slots: int, given: dict[str, Any]) -> WorkerOptions:
    read: dict[str, Any] = {
        name: timedelta(seconds=value) if name in DURATIONS else value
        for name, value in given.items()
    }
    return WorkerOptions(dict.fromkeys(queues, slots), **read)


async def work(dsn: str, schema: str, pipelines: list[str], chosen: WorkerOptions) -> None:
    end_with_the_test()
    known = [pipeline(name) for name in pipelines]
    async with FlowStone(known, dsn=dsn, schema=schema, io=IO) as app:
        worker = app.worker(chosen)

        def stop() -> None:
            worker.stop()
            print("asked to stop", flush=True)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        await worker.run()


if __name__ == "__main__":
    given = argument()
    schema = given.get("schema", "flowstone")
    queues = given.get("queues", [DEFAULT_QUEUE])
    chosen = options(queues, given.get("slots", 4), given.get("options", {}))
    asyncio.run(work(given["dsn"], schema, given["pipelines"], chosen))
