"""Wakes one materialization and ends: ``{"dsn": …, "id": …, "payload": …}``."""

import asyncio
import json

from flowstone.engine.store import PostgresStore
from tests.scenarios.processes.life import argument


async def wake(dsn: str, id_: int, payload: object) -> None:
    store = PostgresStore(dsn)
    await store.open()
    try:
        assert await store.wake(id_, json.dumps(payload))
    finally:
        await store.close()


if __name__ == "__main__":
    given = argument()
    asyncio.run(wake(given["dsn"], given["id"], given["payload"]))
