"""Materializations that begin before what they wait for, and hear of its end."""

import asyncio
from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Claim, Store
from flowstone.core.outcome import Until, Wake
from flowstone.core.status import Status
from flowstone.testing.contracts.store_runs import (
    Settle,
    SmallRun,
    Worker,
    cancelled,
    failed,
    handed_back,
    key,
    new_run,
    new_worker,
    retried,
    run_status,
    skipped,
    snoozed,
    statuses,
    succeeded,
    waited,
)
from flowstone.testing.contracts.store_suite import StoreSuite

PLAN = {"a": [], "b": ["a"], "c": [], "p": ["&b", "&c"], "z": ["p"]}
"""``p`` waits for ``b``, which is made from ``a``, and for ``c``."""

ROUNDS = 20
"""Of what happens at the same time."""

ends_without_value = pytest.mark.parametrize("settle", [failed, skipped, cancelled])


def until(run: SmallRun, names: str, lost: str = "") -> Until:
    """Return the wait for the end of some, or the loss of one of some others."""
    return Until(tuple(run[it] for it in names), tuple(run[it] for it in lost))


async def waiting(
    store: Store, names: str = "bc", lost: str = "", *, timeout: timedelta | None = None
) -> tuple[Worker, SmallRun, dict[str, Claim]]:
    """Return a run of `PLAN` whose ``p`` waits, and the claims of what it has started."""
    worker = await new_worker(store)
    run = await new_run(store, PLAN)
    (claim,) = await worker.claims()
    await worker.settle(waited(claim, "branches", until=until(run, names, lost), timeout=timeout))
    return worker, run, await worker.claim()


class HeldContract(StoreSuite):
    """What only an awaited upstream needs begins when the one that waits for it has begun."""

    async def test_it_is_held_until_then(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, PLAN)

        claims = await worker.claim()

        assert list(claims) == ["p"]
        assert set((await statuses(store, run)).values()) == {Status.PENDING, Status.RUNNING}

    async def test_a_wait_begins_it(self, store: Store) -> None:
        _, run, claims = await waiting(store)

        assert sorted(claims) == ["a", "c"]
        assert (await statuses(store, run))["b"] is Status.PENDING

    async def test_a_second_wait_does_not_begin_it_again(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"d": [], "x": ["d"], "a": ["d"], "p": ["&a"]})
        claims = await worker.claim()
        await worker.settle(waited(claims["p"], until=until(run, "a")))
        await store.wake(run["p"], "1")
        again = (await worker.claim())["p"]

        await worker.settle(waited(again, until=until(run, "a")))

        assert sorted(claims) == ["d", "p"]
        assert await worker.claims() == []
        await worker.settle(succeeded(claims["d"]))
        assert sorted(await worker.claim()) == ["a", "x"]

    @pytest.mark.parametrize("settle", [retried, snoozed, handed_back])
    async def test_an_attempt_that_is_repeated_does_not_begin_it(
        self, store: Store, settle: Settle
    ) -> None:
        worker = await new_worker(store)
        await new_run(store, PLAN)
        (claim,) = await worker.claims()

        turn = await worker.turn(settle(claim))

        assert [it.id for it in turn.claims] == [claim.id]

    async def test_a_success_without_a_wait_begins_it(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, PLAN)

        await worker.settle(succeeded((await worker.claim())["p"]))

        assert sorted(await worker.claim()) == ["a", "c", "z"]

    @pytest.mark.parametrize(
        ("settle", "status"),
        [
            (failed, Status.UPSTREAM_FAILED),
            (skipped, Status.SKIPPED),
            (cancelled, Status.CANCELLED),
        ],
    )
    async def test_it_ends_with_one_that_never_began(
        self, store: Store, settle: Settle, status: Status
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, PLAN)

        await worker.settle(settle((await worker.claim())["p"]))

        ended = await statuses(store, run)
        assert {ended[name] for name in "abcz"} == {status}
        assert (await run_status(store, run)).is_terminal

    async def test_it_ends_with_one_whose_own_upstream_is_lost(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"d": [], "a": [], "b": ["a?"], "p": ["d", "&b"]})
        claims = await worker.claim()

        await worker.settle(failed(claims["d"]))

        assert list(claims) == ["d"]
        assert {name: it.value for name, it in (await statuses(store, run)).items()} == {
            "d": "failed",
            "p": "upstream_failed",
            "a": "upstream_failed",
            "b": "upstream_failed",
        }

    async def test_what_others_need_is_not_held(self, store: Store) -> None:
        worker = await new_worker(store)
        plan = {"d": [], "a": ["d"], "e": [], "b": ["a", "e"], "x": ["e"], "p": ["d", "&b"]}
        run = await new_run(store, plan)

        first = await worker.claim()
        await worker.settle(failed(first["d"]))

        assert sorted(first) == ["d", "e"]
        await worker.settle(succeeded(first["e"]))
        assert list(await worker.claim()) == ["x"]
        assert (await statuses(store, run))["b"] is Status.UPSTREAM_FAILED

    async def test_one_inside_another_begins_after_it(self, store: Store) -> None:
        worker = await new_worker(store)
        plan = {"a": [], "q": ["&a"], "c": ["q"], "p": ["&c"]}
        run = await new_run(store, plan)

        (outer,) = await worker.claims()
        await worker.settle(waited(outer, until=until(run, "c")))
        (inner,) = await worker.claims()
        await worker.settle(waited(inner, until=until(run, "a")))
        (last,) = await worker.claims()

        assert [outer.id, inner.id, last.id] == [run["p"], run["q"], run["a"]]

    async def test_what_two_of_them_await_begins_with_neither(self, store: Store) -> None:
        worker = await new_worker(store)
        await new_run(store, {"a": [], "p": ["&a"], "q": ["p", "&a"]})

        assert sorted(await worker.claim()) == ["a", "p"]


class AwaitingContract(StoreSuite):
    """A wait ends by itself, with the end of what is waited for."""

    async def test_the_last_end_wakes_it_with_the_values(self, store: Store) -> None:
        worker, run, claims = await waiting(store)

        turn = await worker.turn(succeeded(claims["a"]), succeeded(claims["c"], "3"))
        (claim,) = turn.claims
        turn = await worker.turn(succeeded(claim, "2"))

        (woken,) = turn.claims
        assert (claim.id, woken.id) == (run["b"], run["p"])
        assert woken.wake == Wake("branches", None, None, timed_out=False)
        assert [(it.asset, it.value) for it in woken.inputs] == [("test.b", "2"), ("test.c", "3")]

    async def test_its_value_is_made_from_theirs(self, store: Store) -> None:
        worker, run, claims = await waiting(store)
        await worker.settle(succeeded(claims["a"]), failed(claims["c"]))
        await worker.settle(succeeded((await worker.claim())["b"]))
        await worker.settle(succeeded((await worker.claim())["p"]))

        upstream, _ = await store.lineage(key("p"))
        current, _ = await store.current([key("p")])

        assert list(upstream) == [key("b")]
        assert sorted(current[key("p")].upstreams) == [run["b"], run["c"]]

    @ends_without_value
    async def test_a_loss_is_an_end(self, store: Store, settle: Settle) -> None:
        worker, run, claims = await waiting(store)

        await worker.settle(settle(claims["c"]))
        assert await worker.claims() == []
        await worker.settle(settle(claims["a"]))

        (woken,) = await worker.claims()
        assert woken.id == run["p"]
        assert list(woken.inputs) == []

    @ends_without_value
    async def test_the_loss_of_one_that_is_needed_wakes_it_at_once(
        self, store: Store, settle: Settle
    ) -> None:
        worker, run, claims = await waiting(store, lost="b")

        await worker.settle(settle(claims["a"]))

        assert [it.id for it in await worker.claims()] == [run["p"]]
        assert (await statuses(store, run))["c"] is Status.RUNNING

    async def test_of_several_that_end_in_one_turn_it_hears_once(self, store: Store) -> None:
        worker, run, claims = await waiting(store, lost="bc")

        turn = await worker.turn(failed(claims["a"]), failed(claims["c"]))

        assert [it.id for it in turn.claims] == [run["p"]]
        assert await worker.claims() == []

    async def test_what_has_ended_before_the_wait_ends_it_at_once(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"b": [], "x": ["b"], "p": ["&b"]})
        claims = await worker.claim()
        await worker.settle(succeeded(claims["b"], "2"))

        await worker.settle(waited(claims["p"], until=until(run, "b")))

        woken = (await worker.claim())["p"]
        assert [it.value for it in woken.inputs] == ["2"]
        assert woken.wake is not None

    async def test_what_ends_in_the_turn_in_which_the_wait_begins_ends_it(
        self, store: Store
    ) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"b": [], "x": ["b"], "p": ["&b"]})
        claims = await worker.claim()

        turn = await worker.turn(
            succeeded(claims["b"]), waited(claims["p"], "branches", until=until(run, "b"))
        )

        woken = next(it for it in turn.claims if it.id == run["p"])
        assert woken.wake == Wake("branches", None, None, timed_out=False)

    async def test_a_wait_for_nothing_ends_at_once(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"a": []})

        turn = await worker.turn(waited((await worker.claim())["a"], until=Until(())))

        assert [it.id for it in turn.claims] == [run["a"]]

    async def test_what_it_waits_for_anew_does_not_end_it_early(self, store: Store) -> None:
        worker, run, claims = await waiting(store, "c")
        await worker.settle(succeeded(claims["c"]))
        again = (await worker.claim())["p"]

        await worker.settle(waited(again, until=until(run, "b")))

        assert await worker.claims() == []
        await worker.settle(succeeded(claims["a"]))
        await worker.settle(succeeded((await worker.claim())["b"]))
        assert list(await worker.claim()) == ["p"]

    async def test_the_deadline_passes_all_the_same(self, store: Store) -> None:
        worker, run, _ = await waiting(store, timeout=timedelta(hours=1))

        await self.advance(store, timedelta(hours=1, seconds=1))

        (late,) = await worker.claims()
        assert late.id == run["p"]
        assert late.wake == Wake("branches", None, None, timed_out=True)

    async def test_a_death_of_the_upstream_s_worker_is_told(self, store: Store) -> None:
        worker = await new_worker(store)
        run = await new_run(store, {"b": [], "p": ["&b"]})
        await worker.settle(waited((await worker.claim())["p"], until=until(run, "b")))
        dying = await new_worker(store)
        await dying.claims()
        await self.advance(store, timedelta(minutes=1))
        await worker.beat()

        await store.rescue(max_rescues=0)

        assert (await statuses(store, run))["b"] is Status.FAILED
        assert list(await worker.claim()) == ["p"]

    async def test_of_two_that_end_at_the_same_time_one_wakes_it(self, store: Store) -> None:
        workers = [await new_worker(store), await new_worker(store)]
        for number in range(ROUNDS):
            queue = f"both {number}"
            run = await new_run(store, {"b": [], "c": [], "p": ["&b", "&c"]}, queue=queue)
            (claim,) = await workers[0].claims(queue=queue)
            await workers[0].settle(waited(claim, until=until(run, "bc")))
            claims = [(await it.claims(1, queue=queue))[0] for it in workers]

            await asyncio.gather(
                *(it.settle(succeeded(own)) for it, own in zip(workers, claims, strict=True))
            )

            assert [it.id for it in await workers[0].claims(queue=queue)] == [run["p"]]

    async def test_an_end_at_the_moment_of_the_wait_is_not_missed(self, store: Store) -> None:
        workers = [await new_worker(store), await new_worker(store)]
        for number in range(ROUNDS):
            queue = f"moment {number}"
            run = await new_run(store, {"b": [], "x": ["b"], "p": ["&b"]}, queue=queue)
            ended, waits = [(await it.claims(1, queue=queue))[0] for it in workers]

            await asyncio.gather(
                workers[0].settle(succeeded(ended)),
                workers[1].settle(waited(waits, until=until(run, "b"))),
            )

            assert run["p"] in [it.id for it in await workers[0].claims(queue=queue)]

    async def test_it_can_be_seen_how_they_stand(self, store: Store) -> None:
        worker, run, claims = await waiting(store)
        await worker.settle(failed(claims["c"], '{"message": "no"}'))

        found = await store.awaited(run["p"])

        assert [(it.id, it.key, it.status, it.error) for it in found] == [
            (run["b"], key("b"), Status.PENDING, None),
            (run["c"], key("c"), Status.FAILED, '{"message": "no"}'),
        ]
        assert list(await store.awaited(run["a"])) == []
        assert list(await store.awaited(999_999_999)) == []
