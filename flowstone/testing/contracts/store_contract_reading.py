"""Finding runs and materializations again, and hearing of what happens."""

import asyncio
from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Store
from flowstone.core.errors import RunNotFoundError
from flowstone.core.status import RunStatus, Status
from flowstone.core.wakeups import EVERYTHING, Watch
from flowstone.testing.contracts.store_runs import (
    failed,
    key,
    materialized,
    new_run,
    new_worker,
    retried,
    skipped,
    stored,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

LEASE = timedelta(seconds=30)
HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 10.0


class ReadingContract(StoreSuite):
    """Runs and histories."""

    async def test_an_unknown_run_is_an_error(self, store: Store) -> None:
        with pytest.raises(RunNotFoundError):
            await store.run(999_999_999)

    async def test_runs_are_listed_newest_first(self, store: Store) -> None:
        runs = [await new_run(store, {"a": []}) for _ in range(3)]

        listed = [record.run_id for record in await store.runs()]

        assert listed == [run.id for run in reversed(runs)]

    async def test_a_listed_run_is_the_run(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []}, options='{"force":true}')
        claims = await worker.claim()
        await worker.settle(failed(claims["a"]))

        assert list(await store.runs()) == [await store.run(run.id)]

    async def test_runs_come_page_by_page(self, store: Store) -> None:
        runs = [await new_run(store, {"a": []}) for _ in range(5)]

        pages = []
        before: int | None = None
        while page := await store.runs(limit=2, before=before):
            pages.append([record.run_id for record in page])
            before = pages[-1][-1]

        ids = [run.id for run in runs]
        assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]

    async def test_runs_are_found_by_status(self, store: Store) -> None:
        worker = await new_worker(store)
        runs = {name: await new_run(store, {name: []}) for name in "abcd"}
        claims = await worker.claim(3)
        await worker.settle(succeeded(claims["a"]), failed(claims["b"]), succeeded(claims["c"]))
        await store.cancel_run(runs["d"].id)

        found = {
            status: [record.run_id for record in await store.runs(status=status)]
            for status in RunStatus
        }

        assert found == {
            RunStatus.RUNNING: [],
            RunStatus.SUCCEEDED: [runs["c"].id, runs["a"].id],
            RunStatus.FAILED: [runs["b"].id],
            RunStatus.CANCELLED: [runs["d"].id],
        }

    async def test_pages_of_one_status_skip_the_others(self, store: Store) -> None:
        runs = [await new_run(store, {"a": []}) for _ in range(4)]
        await store.cancel_run(runs[1].id)

        page = await store.runs(status=RunStatus.RUNNING, limit=2, before=runs[3].id)

        assert [record.run_id for record in page] == [runs[2].id, runs[0].id]

    async def test_the_history_of_a_key_is_newest_first(self, store: Store) -> None:
        worker = await new_worker(store)
        runs = [await new_run(store, {"a": [], "b": []}) for _ in range(3)]
        await new_run(store, {"a": []}, partition="eu")
        claims = await worker.claims(1)
        await worker.settle(failed(claims[0]))

        history = await store.history(key("a"))

        assert [record.id for record in history] == [run["a"] for run in reversed(runs)]
        assert [record.status for record in history] == [
            Status.READY,
            Status.READY,
            Status.FAILED,
        ]
        assert [record.id for record in await store.history(key("a"), limit=1)] == [runs[2]["a"]]

    async def test_what_was_never_planned_has_no_history(self, store: Store) -> None:
        await new_run(store, {"a": []})

        assert list(await store.history(key("a", "eu"))) == []


class ProgressContract(StoreSuite):
    """What has changed in a run since somebody looked."""

    async def test_the_first_look_brings_all_as_it_is(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"], "c": []})
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"]), waited(claims["c"], on="door"))

        found = await store.progress(run.id)

        assert list(found.changed) == list(await store.materializations(run.id))
        assert [it.waiting_on for it in found.changed] == [None, None, "door"]
        assert found.status is RunStatus.RUNNING
        assert found.finished_at is None
        assert found.created_at <= found.seen_at

    async def test_every_step_is_in_the_next_look(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        mark = (await store.progress(run.id)).mark
        seen = []

        async def changed() -> None:
            nonlocal mark
            found = await store.progress(run.id, since=mark)
            mark = found.mark
            seen.append([(it.status, it.attempt) for it in found.changed])

        (claim,) = await worker.claims()
        await changed()
        await worker.settle(retried(claim))
        await changed()
        (claim,) = await worker.claims()
        await worker.settle(waited(claim))
        await changed()
        await store.wake(run["a"], "1")
        await changed()
        (claim,) = await worker.claims()
        await worker.settle(succeeded(claim))
        await changed()

        assert seen == [
            [(Status.RUNNING, 1)],
            [(Status.READY, 1)],
            [(Status.WAITING, 1)],
            [(Status.READY, 1)],
            [(Status.SUCCEEDED, 2)],
        ]

    async def test_what_stays_as_it_is_is_left_out_of_later_looks(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        found = await store.progress(run.id)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while found.changed:  # a store may bring them again for as long as others write to it
                found = await store.progress(run.id, since=found.mark)
                await asyncio.sleep(0.005)

        await worker.claims(1)
        found = await store.progress(run.id, since=found.mark)

        assert [it.id for it in found.changed] == [run["a"]]

    async def test_the_end_comes_with_all_that_ended(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": ["a"]})
        claims = await worker.claim()
        mark = (await store.progress(run.id)).mark
        await worker.settle(failed(claims["a"]))

        found = await store.progress(run.id, since=mark)

        record = await store.run(run.id)
        assert (found.status, found.finished_at) == (RunStatus.FAILED, record.finished_at)
        assert [it.status for it in found.changed] == [Status.FAILED, Status.UPSTREAM_FAILED]

    async def test_the_progress_of_an_unknown_run_is_an_error(self, store: Store) -> None:
        with pytest.raises(RunNotFoundError):
            await store.progress(999_999_999)


class OutputsContract(StoreSuite):
    """What a run has to show for itself."""

    async def test_computed_and_reused_values_are_found(self, store: Store) -> None:
        worker = await new_worker(store)
        reused = await materialized(store, worker, "r", '"old"')
        run = await new_run(store, {"a": ["r"], "b": []}, reused={"r": reused}, partition="")
        claims = await worker.claim()
        await worker.settle(succeeded(claims["a"], '"new"'), stored(claims["b"], "lake", '"x/1"'))

        outputs = await store.outputs(run.id, [key("a"), key("b"), key("r")])

        assert {
            each: (found.asset, found.materialization_id, found.io, found.location, found.value)
            for each, found in outputs.items()
        } == {
            key("a"): ("test.a", run["a"], None, None, '"new"'),
            key("b"): ("test.b", run["b"], "lake", '"x/1"', None),
            key("r"): ("test.r", reused, None, None, '"old"'),
        }

    async def test_what_has_no_value_is_left_out_of_outputs(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": [], "c": ["a"], "d": []})
        claims = await worker.claim(2)
        await worker.settle(failed(claims["a"]), skipped(claims["b"]))
        await materialized(store, worker, "x")

        keys = [key(name) for name in "abcdx"]

        assert dict(await store.outputs(run.id, keys)) == {}

    async def test_only_what_is_asked_for_is_returned(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "b": []})
        await worker.settle(*map(succeeded, await worker.claims()))

        assert list(await store.outputs(run.id, [key("b"), key("b", "eu")])) == [key("b")]
        assert dict(await store.outputs(run.id, [])) == {}

    async def test_another_run_does_not_replace_them(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.settle(*map(succeeded, await worker.claims()))
        await materialized(store, worker, "a", '"later"')

        outputs = await store.outputs(run.id, [key("a")])

        assert outputs[key("a")].materialization_id == run["a"]


class WakeupsContract(StoreSuite):
    """Who waits for something is told when to look again."""

    async def test_a_new_job_wakes_its_queue(self, store: Store) -> None:
        await store.listen(["mail"])
        with store.wakeups.watch(["queue:mail"]) as watch:
            await new_run(store, {"a": []}, queue="mail")

            assert await heard(watch, "queue:mail")

    async def test_a_ready_dependent_wakes_its_queue(self, store: Store) -> None:
        worker, _ = await new_worker(store), await new_worker(store)
        await new_run(store, {"a": [], "b": ["a"]}, queues={"b": "mail"})
        claims = await worker.claim()
        await store.listen(["mail"])
        with store.wakeups.watch(["queue:mail"]) as watch:
            await worker.settle(succeeded(claims["a"]))

            assert await heard(watch, "queue:mail")

    async def test_what_is_woken_wakes_its_queue(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []}, queue="mail")
        claims = await worker.claim(queue="mail")
        await worker.settle(waited(claims["a"]))
        await store.listen(["mail"])
        with store.wakeups.watch(["queue:mail"]) as watch:
            await store.wake(run["a"], "1")

            assert await heard(watch, "queue:mail")

    @pytest.mark.parametrize("way", ["lost", "left"])
    async def test_what_its_worker_gave_up_wakes_its_queue(self, store: Store, way: str) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": []}, queue="mail")
        await worker.claims(queue="mail")
        await self.advance(store, HOUR)
        await store.listen(["mail"])
        with store.wakeups.watch(["queue:mail"]) as watch:
            if way == "lost":
                await store.rescue(max_rescues=3)
            else:
                await store.unregister_worker(worker.id)

            assert await heard(watch, "queue:mail")

    async def test_the_end_of_a_run_wakes_who_waits_for_it(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        claims = await worker.claim()
        await worker.settle(retried(claims["a"]))
        claims = await worker.claim()
        await store.listen()
        with store.wakeups.watch([f"run:{run.id}"]) as watch:
            await worker.settle(succeeded(claims["a"]))

            assert await heard(watch, f"run:{run.id}")

    async def test_a_cancelled_run_wakes_who_waits_for_it(self, store: Store) -> None:
        run = await new_run(store, {"a": []})
        await store.listen()
        with store.wakeups.watch([f"run:{run.id}"]) as watch:
            await store.cancel_run(run.id)

            assert await heard(watch, f"run:{run.id}")

    async def test_the_wish_to_stop_wakes_the_workers(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})
        await worker.claims()
        await store.listen()
        with store.wakeups.watch(["abort"]) as watch:
            await store.cancel_run(run.id)

            assert await heard(watch, "abort")


async def heard(watch: Watch, topic: str) -> bool:
    """Wait for the topic; say whether it came."""
    while topics := await watch.wait(PATIENCE_SECONDS):
        if topics & {topic, EVERYTHING}:
            return True
    return False
