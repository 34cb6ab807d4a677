"""Runs that were enqueued for an asset and have not ended."""

from flowstone.core import partition as partitions
from flowstone.core import run_options
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.contracts.store import Key, RunRecord
from flowstone.core.errors import InvalidOptionError
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.status import RunStatus

PAGE = 100
SHOWN = 20


async def assert_run(
    app: FlowStone, asset: Asset[..., object], partition: object, queue: str | None
) -> RunRecord:
    """Fail unless a run was enqueued for this and has not ended; return the first."""
    __tracebackhide__ = True
    key, found, others = await _found(app, asset, partition, queue)
    if not found:
        raise AssertionError(f"no open run is for {_text(key)}{_in(queue)}\n{_listed(app, others)}")
    return found[0]


async def refute_run(
    app: FlowStone, asset: Asset[..., object], partition: object, queue: str | None
) -> None:
    """Fail if a run was enqueued for this and has not ended."""
    __tracebackhide__ = True
    key, found, _ = await _found(app, asset, partition, queue)
    if found:
        raise AssertionError(f"an open run is for {_text(key)}{_in(queue)}\n{_listed(app, found)}")


def refuse_options_of_jobs(**given: object) -> None:
    """Refuse what a run does not show, by the names of the options that are not None."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise InvalidOptionError(f"{', '.join(named)}: only of jobs; an asset has partition, queue")


async def _found(
    app: FlowStone, asset: Asset[..., object], partition: object, queue: str | None
) -> tuple[Key, list[RunRecord], list[RunRecord]]:
    key = Key(app.definitions.get(asset).full_name, partitions.encode(partition))
    runs = await _open_runs(app)
    found = [
        run
        for run in runs
        if key in run.targets and (queue is None or _queue(app, run, key) == queue)
    ]
    return key, found, runs


async def _open_runs(app: FlowStone) -> list[RunRecord]:
    found: list[RunRecord] = []
    before: int | None = None
    while True:
        page = await app.store.runs(status=RunStatus.RUNNING, limit=PAGE, before=before)
        found += page
        if len(page) < PAGE:
            return found[::-1]
        before = page[-1].run_id


def _queue(app: FlowStone, run: RunRecord, key: Key) -> str:
    asset = app.definitions.find(key.asset)
    own = None if asset is None else asset.options.queue
    return run_options.parse(run.options).queue or own or DEFAULT_QUEUE


def _listed(app: FlowStone, runs: list[RunRecord]) -> str:
    if not runs:
        return "no run is open"
    lines = [f"  {run.run_id}: {_targets(app, run)}" for run in runs[:SHOWN]]
    more = [f"  and {len(runs) - SHOWN} more"] if len(runs) > SHOWN else []
    return "\n".join(["open runs:", *lines, *more])


def _targets(app: FlowStone, run: RunRecord) -> str:
    shown = [f"{_text(it)} in queue {_queue(app, run, it)}" for it in run.targets[:SHOWN]]
    return ", ".join(shown) + (" …" if len(run.targets) > SHOWN else "")


def _text(key: Key) -> str:
    return f"{key.asset}[{key.partition}]" if key.partition else key.asset


def _in(queue: str | None) -> str:
    return "" if queue is None else f", in queue {queue}"
