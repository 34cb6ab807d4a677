"""
A worker of procrastinate's own in a process of its own, on psycopg and with its defaults.

``{"dsn": …, "options": {"queues": ["mail"], …}}``; it knows one task, ``tell``, which writes to its
output. SIGTERM stops it.
"""

import asyncio
from typing import Any

import procrastinate

from flowstone.engine.dsn import with_search_path
from tests.scenarios.processes.life import argument, end_with_the_test


def application(dsn: str) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=with_search_path(dsn, "flowstone"))
    app = procrastinate.App(connector=connector)

    @app.task(name="tell")
    async def tell(text: str) -> None:
        print(text, flush=True)

    return app


async def work(dsn: str, options: dict[str, Any]) -> None:
    end_with_the_test()
    async with application(dsn).open_async() as app:
        await app.run_worker_async(**options)


if __name__ == "__main__":
    given = argument()
    asyncio.run(work(given["dsn"], given.get("options", {})))
