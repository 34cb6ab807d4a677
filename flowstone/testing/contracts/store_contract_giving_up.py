"""What is awaited no longer, and what may fail: the run is not judged by either."""

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.status import RunStatus, Status
from flowstone.testing.contracts.store_contract_awaiting import until, waiting
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    cancelled,
    failed,
    handed_back,
    materialized,
    new_run,
    new_worker,
    row,
    run_status,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite


class GivingUpContract(StoreSuite):
    """What is awaited no longer is cancelled, with what only that needs."""

    async def _woken(self, store: Store) -> tuple[Worker, SmallRun, dict[str, Claim]]:
        worker, run, claims = await waiting(store)
        await store.wake(run["p"], "1")
        claims |= await worker.claim()
        return worker, run, claims

    async def test_what_has_not_begun_is_cancelled_and_what_runs_is_asked_to_stop(
        self, store: Store
    ) -> None:
        worker, run, claims = await self._woken(store)

        count = await store.give_up(run["p"], claims["p"].claim, [run["b"]], "late")

        assert count == 2
        record = await row(store, run, "b")
        assert (record.status, record.error) in [
            (Status.CANCELLED, '{"message": "late"}'),
            (Status.CANCELLED, '{"message" : "late"}'),
        ]
        assert list(await store.aborts(worker.id)) == [run["a"]]
        assert (await statuses(store, run))["c"] is Status.RUNNING

    async def test_the_run_does_not_end_as_cancelled_by_it(self, store: Store) -> None:
        worker, run, claims = await self._woken(store)
        await store.give_up(run["p"], claims["p"].claim, [run["b"], run["c"]], "late")

        await worker.settle(
            cancelled(claims["a"]), failed(claims["c"]), succeeded(claims["p"]), *[]
        )
        await worker.settle(succeeded((await worker.claim())["z"]))

        assert await run_status(store, run) is RunStatus.SUCCEEDED

    async def test_a_claim_that_was_lost_gives_nothing_up(self, store: Store) -> None:
        worker, run, claims = await self._woken(store)
        await worker.settle(handed_back(claims["p"]))
        await worker.claim()

        assert await store.give_up(run["p"], claims["p"].claim, [run["b"]], "late") == 0
        assert (await statuses(store, run))["b"] is Status.PENDING

    async def test_what_it_does_not_await_goes_on(self, store: Store) -> None:
        _, run, claims = await self._woken(store)

        assert await store.give_up(run["p"], claims["p"].claim, [run["z"], run["a"]], "no") == 0
        assert (await statuses(store, run))["z"] is Status.PENDING

    async def test_what_somebody_else_needs_goes_on(self, store: Store) -> None:
        worker = await new_worker(store)
        plan = {"a": [], "b": ["a"], "x": ["a"], "c": [], "y": ["c"], "p": ["&b", "&c"]}
        run = await new_run(store, plan)
        claims = await worker.claim()

        assert await store.give_up(run["p"], claims["p"].claim, [run["b"], run["c"]], "no") == 1

        ended = await statuses(store, run)
        assert [name for name, it in ended.items() if it is Status.CANCELLED] == ["b"]

    async def test_what_one_inside_awaits_is_given_up_with_it(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": [], "q": ["&a"], "c": ["q"], "p": ["&c"]})
        for name, awaited in (("p", "c"), ("q", "a")):
            claim = (await worker.claim())[name]
            await worker.settle(waited(claim, until=until(run, awaited)))
        await store.wake(run["p"], "1")
        claims = await worker.claim()

        assert await store.give_up(run["p"], claims["p"].claim, [run["c"]], "late") == 3
        await worker.settle(cancelled(claims["a"]), succeeded(claims["p"]))

        assert await run_status(store, run) is RunStatus.SUCCEEDED
        assert not await store.wake(run["q"], "1")

    async def test_twice_is_once(self, store: Store) -> None:
        _, run, claims = await self._woken(store)
        fence = claims["p"].claim
        await store.give_up(run["p"], fence, [run["b"]], "late")
        before = await row(store, run, "b")

        await store.give_up(run["p"], fence, [run["b"]], "later")

        assert await row(store, run, "b") == before


class ToleratedContract(StoreSuite):
    """What may fail does not decide how the run ends."""

    @pytest.mark.parametrize(
        ("plan", "expected"),
        [
            ({"a": [], "b": ["a"], "p": ["&b?"]}, RunStatus.SUCCEEDED),
            ({"a": [], "b": ["a"], "p": ["&b"]}, RunStatus.FAILED),
            ({"a": [], "b": ["a"], "p": ["&b?"], "z": ["b?"]}, RunStatus.FAILED),
            ({"a": [], "b": ["a"], "c": ["a"], "p": ["&b?", "&c"]}, RunStatus.FAILED),
            ({"a": [], "b": ["a"], "c": ["a"], "p": ["&b?", "&c?"]}, RunStatus.SUCCEEDED),
            ({"a": [], "b": ["a"], "q": ["&b"], "p": ["&q?"]}, RunStatus.SUCCEEDED),
        ],
        ids=["optional", "required", "needed elsewhere", "both", "twice optional", "inside one"],
    )
    async def test_a_failure_below_optional_edges_alone_does_not_fail_the_run(
        self, store: Store, plan: dict[str, list[str]], expected: RunStatus
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, plan)

        while claims := await worker.claim():
            for name, claim in claims.items():
                awaited = "".join(it.strip("&?") for it in plan[name] if it.startswith("&"))
                if awaited and claim.wake is None:
                    await worker.settle(waited(claim, until=until(run, awaited)))
                else:
                    await worker.settle((failed if name == "a" else succeeded)(claim))

        assert await run_status(store, run) is expected

    async def test_what_awaits_what_is_reused_has_it_as_an_input(self, store: Store) -> None:
        worker = await new_worker(store)
        stored = await materialized(store, worker, "b", "7")
        await new_run(store, {"p": ["b"]}, reused={"b": stored})

        (claim,) = await worker.claims()

        assert [it.value for it in claim.inputs] == ["7"]
