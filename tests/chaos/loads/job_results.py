"""Jobs that somebody waits for."""

import asyncio

from flowstone.core.errors import JobCancelledError, JobFailedError, JobNotEndedError
from flowstone.core.job_handle import JobHandle
from tests.chaos.audit import Made
from tests.chaos.client import Client
from tests.chaos.loads.jobs import a_call

MEAN_SECONDS = 0.6
SEVERAL = 4


async def drive(client: Client) -> None:
    handles = [handle for _ in range(SEVERAL) if (handle := await enqueued(client, "job_results"))]
    await asyncio.gather(*(hear(client, handle) for handle in handles))
    await client.pause(MEAN_SECONDS)


async def enqueued(client: Client, load: str) -> JobHandle[object] | None:
    """Enqueue a job; None when it is not known whether there is one."""
    app, note = client.app, client.text(load)
    handle = await client.attempt(lambda: app.enqueue(a_call(client, app, note)))
    if handle is not None:
        client.asked.jobs[handle.job_id] = (note, load, 0.0)
    return handle


async def hear(client: Client, handle: JobHandle[object]) -> None:
    """Wait for its end, and write down what was told; not for ever."""
    try:
        result = await client.attempt(lambda: handle.result(timeout=20))
    except JobFailedError:
        heard = "failed"
    except JobCancelledError:
        heard = "cancelled"
    except JobNotEndedError:
        return
    else:
        if result is None:
            return  # skipped, or the database was away
        heard = result.token if isinstance(result, Made) else repr(result)
    client.asked.heard[handle.job_id] = heard
