"""Short ways to plan, claim and settle, for tests of a store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from flowstone.core.awaiting import hold
from flowstone.core.contracts.store import (
    Capacity,
    Claim,
    JsonText,
    Key,
    MaterializationRecord,
    NewRun,
    PlannedStep,
    Reused,
    Settlement,
    Store,
    Turn,
    Wait,
    WorkerInfo,
)
from flowstone.core.contracts.store_records import StepEdges
from flowstone.core.outcome import Until
from flowstone.core.status import Event, RunStatus, Status

QUEUE = "default"
ERROR = '{"type": "ValueError", "message": "no"}'

ODD_JSON = '{"b" : [1.0, 1e5, -0],  "a":"\\u00e4 \\\\ \\"", "b": null}'
"""Valid, and changed by everything that parses JSON and writes it again."""


def key(name: str, partition: str = "") -> Key:
    """Return the key of an asset by its short name."""
    return Key(f"test.{name}", partition)


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A run that a test created, and the ids of its materializations by short name."""

    id: int
    ids: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.ids[name]


async def planned(
    store: Store,
    plan: Mapping[str, Sequence[str]],
    *,
    queue: str = QUEUE,
    queues: Mapping[str, str] | None = None,
    priorities: Mapping[str, int] | None = None,
    partition: str = "",
    reused: Mapping[str, int] | None = None,
    options: JsonText | None = None,
    dedupe: str | None = None,
    at: datetime | None = None,
) -> NewRun:
    """
    Return a run that can be created, its ids reserved.

    Args:
        plan: The upstreams of each asset, by short names. ``b`` is needed and loaded, ``b?`` is
            optional, ``>b`` only has to come first, ``&b`` is awaited, ``&b?`` is so and may fail.
            Upstreams come before those that need them.
        queues: The queue of an asset that is not in ``queue``.
        priorities: The priority of an asset where it is not 0.
        reused: Materializations of other runs by the short name under which ``plan`` has them.
    """
    _, ids = await store.current([], reserve=len(plan))
    steps = {
        name: PlannedStep(
            id=id_,
            key=key(name, partition),
            queue=(queues or {}).get(name, queue),
            priority=(priorities or {}).get(name, 0),
            reason=f"{name} has no value yet",
        )
        for name, id_ in zip(plan, ids, strict=True)
    }
    stored = reused or {}
    optional: set[tuple[int, int]] = set()
    for name, upstreams in plan.items():
        for upstream in upstreams:
            source = upstream.strip(">?&")
            if upstream.startswith("&"):
                steps[name].add("awaits", steps[source].id)
                steps[source].add("awaited_by", steps[name].id)
                if upstream.endswith("?"):
                    optional.add((steps[name].id, steps[source].id))
                continue
            edges: StepEdges = "follows" if upstream.startswith(">") else "inputs"
            if source in stored:
                steps[name].add(edges, stored[source])
                continue
            steps[name].add(edges, steps[source].id)
            steps[name].unmet += 1
            is_optional = upstream.endswith("?")
            steps[source].add(
                "optional_dependents" if is_optional else "dependents", steps[name].id
            )
    targets = [it.key for it in steps.values() if not (it.dependents or it.awaited_by)]
    asked_for = [
        it.key for it in steps.values() if not it.optional_dependents and it.key in targets
    ]
    hold([*steps.values()], asked_for, optional)
    return NewRun(
        targets=targets,
        steps=list(steps.values()),
        reused=[Reused(id_, key(name, partition), "fresh") for name, id_ in stored.items()],
        options=options,
        dedupe=dedupe,
        at=at,
    )


async def create(store: Store, run: NewRun) -> SmallRun:
    """Write a planned run, which has to be new."""
    created = await store.create_run(run)
    assert created.created
    names = (step.key.asset.removeprefix("test.") for step in run.steps)
    return SmallRun(created.run_id, dict(zip(names, (step.id for step in run.steps), strict=True)))


async def new_run(
    store: Store,
    plan: Mapping[str, Sequence[str]],
    *,
    queue: str = QUEUE,
    queues: Mapping[str, str] | None = None,
    priorities: Mapping[str, int] | None = None,
    partition: str = "",
    reused: Mapping[str, int] | None = None,
    options: JsonText | None = None,
    at: datetime | None = None,
) -> SmallRun:
    """Plan and write a run; see `planned`."""
    run = await planned(
        store,
        plan,
        queue=queue,
        queues=queues,
        priorities=priorities,
        partition=partition,
        reused=reused,
        options=options,
        at=at,
    )
    return await create(store, run)


class Worker:
    """A worker that a test moves by hand."""

    def __init__(self, store: Store, worker_id: int) -> None:
        self.store = store
        self.id = worker_id

    async def claims(
        self, slots: int = 100, *, queue: str = QUEUE, run: SmallRun | None = None
    ) -> list[Claim]:
        """Claim from a queue, or from one run, and return the claims in their order."""
        return list((await self.turn(slots=slots, queue=queue, run=run)).claims)

    async def claim(
        self, slots: int = 100, *, queue: str = QUEUE, run: SmallRun | None = None
    ) -> dict[str, Claim]:
        """Claim as `claims` does, and return the claims by the assets' short names."""
        claims = await self.claims(slots, queue=queue, run=run)
        return {short_name(claim): claim for claim in claims}

    async def settle(self, *settlements: Settlement) -> list[int]:
        """Settle without claiming and return the ids that were refused."""
        return list((await self.store.turn(self.id, settlements, Capacity())).refused)

    async def turn(
        self,
        *settlements: Settlement,
        slots: int = 100,
        queue: str = QUEUE,
        run: SmallRun | None = None,
    ) -> Turn:
        """Settle, then claim from a queue or from one run."""
        capacity = Capacity({queue: slots}) if run is None else Capacity({}, run.id, slots)
        return await self.store.turn(self.id, settlements, capacity)

    async def beat(self) -> bool:
        """Prove that this worker lives."""
        return await self.store.heartbeat(self.id)


async def new_worker(store: Store, *, lease: timedelta = timedelta(seconds=30)) -> Worker:
    """Introduce a worker."""
    info = WorkerInfo(host="host.example", pid=4711, queues=[QUEUE], lease=lease)
    return Worker(store, await store.register_worker(info))


async def materialized(store: Store, worker: Worker, name: str, value: JsonText = "1") -> int:
    """Give an asset a value by a run of its own and return the materialization's id."""
    run = await new_run(store, {name: []}, queue=f"{name}'s own")
    claims = await worker.claim(queue=f"{name}'s own")
    assert await worker.settle(succeeded(claims[name], value)) == []
    return run[name]


async def begun(store: Store) -> tuple[Worker, SmallRun, Claim]:
    """Return a run whose ``a`` is claimed; ``b`` needs it, and ``x`` is ready."""
    worker = await new_worker(store)
    run = await new_run(store, {"a": [], "b": ["a"], "x": []})
    (claim,) = await worker.claims(1)
    return worker, run, claim


def short_name(claim: Claim) -> str:
    """Return the asset's name as the test's plan has it."""
    return claim.asset.removeprefix("test.")


def succeeded(claim: Claim, value: JsonText | None = "1", *, version: str = "v1") -> Settlement:
    """Return a success whose value the store keeps."""
    return Settlement(
        claim.id, claim.claim, Event.SUCCEEDED, value=value, version=version, duration_ms=12
    )


def stored(claim: Claim, io: str, location: JsonText) -> Settlement:
    """Return a success whose value an IO manager keeps."""
    return Settlement(claim.id, claim.claim, Event.SUCCEEDED, io=io, location=location)


def failed(claim: Claim, error: JsonText = ERROR) -> Settlement:
    """Return a failure for good."""
    return Settlement(claim.id, claim.claim, Event.FAILED, error=error)


def skipped(claim: Claim, reason: JsonText = '"nothing new"') -> Settlement:
    """Return a skip."""
    return Settlement(claim.id, claim.claim, Event.SKIPPED, error=reason)


def cancelled(claim: Claim, reason: JsonText = '"given up"') -> Settlement:
    """Return a cancel by the author."""
    return Settlement(claim.id, claim.claim, Event.CANCELLED, error=reason)


def retried(claim: Claim, delay: timedelta | None = None) -> Settlement:
    """Return a failure that is tried again."""
    return Settlement(claim.id, claim.claim, Event.RETRIED, error=ERROR, delay=delay)


def snoozed(claim: Claim, delay: timedelta | None = None) -> Settlement:
    """Return a snooze."""
    return Settlement(claim.id, claim.claim, Event.SNOOZED, delay=delay)


def handed_back(claim: Claim, delay: timedelta | None = None) -> Settlement:
    """Return what a worker does not want to run."""
    return Settlement(claim.id, claim.claim, Event.HANDED_BACK, delay=delay)


def waited(
    claim: Claim,
    on: str = "approval",
    *,
    state: JsonText = "null",
    timeout: timedelta | None = None,
    external: bool = True,
    whom: tuple[str, ...] = (),
    until: Until | None = None,
) -> Settlement:
    """Return the beginning of a wait."""
    wait = Wait(on=on, state=state, external=external, whom=whom, until=until)
    return Settlement(claim.id, claim.claim, Event.WAITED, wait=wait, delay=timeout)


Settle: TypeAlias = Callable[[Claim], Settlement]
SettleLater: TypeAlias = Callable[[Claim, timedelta | None], Settlement]

SETTLEMENTS: Mapping[Event, Settle] = {
    Event.SUCCEEDED: succeeded,
    Event.FAILED: failed,
    Event.SKIPPED: skipped,
    Event.CANCELLED: cancelled,
    Event.RETRIED: retried,
    Event.SNOOZED: snoozed,
    Event.WAITED: waited,
    Event.HANDED_BACK: handed_back,
}
"""How to settle a claim by each of the events that a worker reports."""


async def statuses(store: Store, run: SmallRun) -> dict[str, Status]:
    """Return the status of each of the run's materializations by short name."""
    by_id = {row.id: row.status for row in await store.materializations(run.id)}
    return {name: by_id[id_] for name, id_ in run.ids.items()}


async def row(store: Store, run: SmallRun, name: str) -> MaterializationRecord:
    """Return one of the run's materializations."""
    return next(row for row in await store.materializations(run.id) if row.id == run[name])


async def run_status(store: Store, run: SmallRun) -> RunStatus:
    """Return where the run stands."""
    return (await store.run(run.id)).status


async def now(store: Store) -> datetime:
    """Return the store's own time, by a run without steps."""
    created = await store.create_run(NewRun(targets=[], steps=[], reused=[]))
    return (await store.run(created.run_id)).created_at
