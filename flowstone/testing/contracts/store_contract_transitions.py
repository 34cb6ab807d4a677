"""Every status and every event, illegal pairs included, against the table of the state machine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.status import TRANSITIONS, Event, Status
from flowstone.testing.contracts.store_runs import (
    SETTLEMENTS,
    Settle,
    SmallRun,
    Worker,
    cancelled,
    create,
    failed,
    key,
    new_worker,
    planned,
    row,
    skipped,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(minutes=1)
LONG = timedelta(hours=1)
DEADLINE = timedelta(minutes=30)

ENDED_BY: Mapping[Status, Settle] = {
    Status.SUCCEEDED: succeeded,
    Status.FAILED: failed,
    Status.SKIPPED: skipped,
    Status.CANCELLED: cancelled,
}

UPSTREAM_ENDED_BY: Mapping[Event, Settle] = {
    Event.DEPS_MET: succeeded,
    Event.UPSTREAM_FAILED: failed,
    Event.UPSTREAM_SKIPPED: skipped,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The materialization ``x`` of a run, brought to some status.

    Its upstream ``u`` is ready, and listens on the queue ``u``. Unless ``x`` is pending, the plan
    counts ``u`` one too few: so its end reaches an ``x`` that does not wait for it.
    """

    store: Store
    run: SmallRun
    worker: Worker
    claim: Claim

    async def settle(self, event: Event) -> bool:
        """Report the event for the last claim of ``x``; say whether it was accepted."""
        refused = await self.worker.settle(SETTLEMENTS[event](self.claim))
        return refused == []

    async def happen(self, event: Event) -> None:
        """Let the event happen in the way in which the store's users can bring it about."""
        if event is Event.CANCELLED and (await self.status()) is not Status.RUNNING:
            await self.store.cancel_run(self.run.id)
        elif event.settles:
            await self.settle(event)
        else:
            await self._by_the_store[event](event)

    async def status(self) -> Status:
        """Return where ``x`` stands."""
        return (await row(self.store, self.run, "x")).status

    @property
    def _by_the_store(self) -> Mapping[Event, Callable[[Event], Awaitable[None]]]:
        return {
            Event.DEPS_MET: self._end_upstream,
            Event.UPSTREAM_FAILED: self._end_upstream,
            Event.UPSTREAM_SKIPPED: self._end_upstream,
            Event.CLAIMED: self._claim,
            Event.WOKEN: self._wake,
            Event.RESCUED: self._rescue,
        }

    async def _end_upstream(self, event: Event) -> None:
        claims = await self.worker.claim(queue="u")
        assert await self.worker.settle(UPSTREAM_ENDED_BY[event](claims["u"])) == []

    async def _claim(self, _: Event) -> None:
        await (await new_worker(self.store)).claims(queue="x")

    async def _wake(self, _: Event) -> None:
        await self.store.wake(self.run["x"], "1")

    async def _rescue(self, _: Event) -> None:
        await self.store.rescue(max_rescues=3)


class TransitionsContract(StoreSuite):
    """What the table allows happens, and what it does not allow changes nothing."""

    @pytest.mark.parametrize("event", Event, ids=lambda event: event.name.lower())
    @pytest.mark.parametrize("status", Status)
    async def test_an_event_leads_where_the_table_says_or_nowhere(
        self, store: Store, status: Status, event: Event
    ) -> None:
        subject = await self._brought_to(store, status)
        await self.advance(store, LONG)  # what waits or does not beat can be claimed or rescued
        before = await self._seen(subject)

        await subject.happen(event)

        if (status, event) in TRANSITIONS:
            assert await subject.status() is TRANSITIONS[status, event]
        else:
            assert await self._seen(subject) == before

    @pytest.mark.parametrize("event", SETTLEMENTS, ids=lambda event: event.name.lower())
    @pytest.mark.parametrize("status", Status)
    async def test_only_what_runs_can_be_settled(
        self, store: Store, status: Status, event: Event
    ) -> None:
        subject = await self._brought_to(store, status)
        before = await self._seen(subject)

        accepted = await subject.settle(event)

        assert accepted is (status is Status.RUNNING)
        if not accepted:
            assert await self._seen(subject) == before

    @pytest.mark.parametrize(
        "event",
        [event for event in Event if not event.settles],
        ids=lambda event: event.name.lower(),
    )
    async def test_what_a_worker_cannot_report_is_refused(self, store: Store, event: Event) -> None:
        subject = await self._brought_to(store, Status.RUNNING)
        before = await self._seen(subject)
        settlement = succeeded(subject.claim)
        settlement.event = event

        refused = await subject.worker.settle(settlement)

        assert refused == [subject.claim.id]
        assert await self._seen(subject) == before

    async def _brought_to(self, store: Store, status: Status) -> Subject:
        plan = await planned(
            store,
            {"u": [], "v": [], "x": ["u", "v"] if status is Status.UPSTREAM_FAILED else ["u"]},
            queues={"u": "u", "v": "v", "x": "x"},
        )
        if status is not Status.PENDING:
            plan.steps[2].unmet -= 1
        run = await create(store, plan)
        worker = await new_worker(store)
        claim = Claim(run["x"], 0, run.id, "test.x", "", 1)
        if status is Status.UPSTREAM_FAILED:
            claims = await worker.claim(queue="v")
            await worker.settle(failed(claims["v"]))
        elif status not in (Status.PENDING, Status.READY):
            (claim,) = await worker.claims(queue="x")
            if status is Status.WAITING:
                await worker.settle(waited(claim, timeout=DEADLINE))
            elif status is not Status.RUNNING:
                await worker.settle(ENDED_BY[status](claim))
        subject = Subject(store, run, worker, claim)
        assert await subject.status() is status
        return subject

    async def _seen(self, subject: Subject) -> list[object]:
        store, run = subject.store, subject.run
        current, _ = await store.current([key("x")])
        return [
            await row(store, run, "x"),
            dict(await store.values([run["x"]])),
            dict(current),
            list(await store.history(key("x"))),
        ]
