"""A run worked on in this process until it ends: what ``app.run`` waits for."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from flowstone.core.contracts.store import RunRecord, Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import RunFailedError, RunWaiting
from flowstone.core.executor import Executor
from flowstone.core.handle import RunHandle, tell_end
from flowstone.core.status import Status
from flowstone.core.until_ended import when_reachable
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions

T = TypeVar("T")

SLOTS = 64
"""How many materializations of the run are computed at once."""

OTHERS_SECONDS = 1.0
"""How late a lost wake-up can make us see what other workers did for the run."""


async def finish(
    handle: RunHandle[T],
    store: Store,
    executor_for: Callable[[int, int], Executor],
    telemetry: TelemetryEmitter,
) -> T:
    """
    Work on the handle's run until it ends, and return its result.

    Raises:
        RunFailedError: Something failed; the cause is what failed last in this process.
        RunCancelledError: It was cancelled.
        RunWaiting: Only an outside event can move it.
    """
    options = WorkerOptions(run_id=handle.run_id, slots=SLOTS)
    executor = executor_for(options.slots, options.child_processes)
    try:
        record = await handle.status()
        if not record.status.is_terminal:
            worker = Worker(store, executor, telemetry, options)
            record = await _work_until_ended(handle, store, worker)
        tell_end(telemetry, record)
        return await handle.value_of(record)
    except RunFailedError as error:
        if executor.last_error is not None:
            raise error from executor.last_error
        raise
    finally:
        executor.close()


async def _work_until_ended(handle: RunHandle[T], store: Store, worker: Worker) -> RunRecord:
    working = asyncio.create_task(worker.run())
    try:
        with store.wakeups.watch([f"run:{handle.run_id}"]) as watch:
            while True:
                await worker.wait_idle()
                if working.done():
                    working.result()
                record = await when_reachable(handle.status, f"run {handle.run_id}")
                if record.status.is_terminal:
                    return record
                if not worker.is_idle:
                    continue
                if not _moves_by_itself(record):
                    waits = await handle.waits()
                    if waits:
                        raise RunWaiting(handle.run_id, waits)
                await watch.wait(OTHERS_SECONDS)
    except asyncio.CancelledError:
        # Nobody here waits for the run any longer: what runs is stopped and handed back. Where no
        # other process sees the run, nobody would ever take it up again.
        working.cancel()
        if not store.is_durable:
            await handle.cancel()
        raise
    finally:
        worker.stop()
        await working


def _moves_by_itself(record: RunRecord) -> bool:
    return any(record.counts.get(status) for status in (Status.READY, Status.RUNNING))
