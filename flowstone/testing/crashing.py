"""A worker that dies: nothing of it is settled any more, and others take over."""

from collections.abc import Sequence
from typing import Any, NoReturn

from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseUnreachableError, InvalidOptionError
from flowstone.core.registration import NOBODY
from flowstone.core.worker import Worker
from flowstone.testing.passing_time import check_owned, lapse


async def crash(worker: Worker) -> Sequence[int]:
    """
    End a worker as if its process were killed, and take back at once what it was at.

    It no longer beats, settles or says goodbye; what runs on it is cancelled, and nothing that it
    still does reaches the store. The death is held against what it was at, as one is
    (``max_rescues``). ``await`` its ``run()`` afterwards: it returns.

    Returns:
        The ids of the jobs and materializations that other workers may claim now, or that the death
        has failed.

    Raises:
        InvalidOptionError: The worker does not run (any longer, or not yet), or the database is not
            marked as being for tests.
    """
    registration = worker._registration
    store, worker_id = worker._store, registration.worker_id
    if worker_id == NOBODY:
        raise InvalidOptionError(
            "this worker does not run: begin it with asyncio.create_task(worker.run()), and wait "
            "for something that it does before it crashes"
        )
    await check_owned(store)
    severed: Any = _Severed()  # refuses whatever is asked of it
    worker._store = registration._store = severed
    registration.worker_id = NOBODY  # so whoever beats for it beats for nobody
    worker._gave_up = True
    worker._running.stop_all()
    worker.stop()
    await lapse(store, worker_id)
    rescued = await store.rescue(max_rescues=worker._options.max_rescues)
    return [id_ for it in rescued if it.worker_id == worker_id for id_ in it.materialization_ids]


class _Severed:
    """A store to which nothing gets through."""

    def __getattr__(self, name: str) -> NoReturn:
        if name not in dir(Store):
            raise AttributeError(name)
        raise DatabaseUnreachableError("the worker crashed")
