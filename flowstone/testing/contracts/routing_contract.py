"""What every keeper of routers' decisions has to do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.contract_version import check_implementation
from flowstone.core.retention import Retention
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision, Rule
from flowstone.plugins.routing.errors import DecisionNotFoundError
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.store_contract_pruning import prune
from flowstone.testing.contracts.store_runs import SmallRun, failed, new_run, new_worker

ROUTER = "test.kind"
POLICY = Retention("7d", failed="7d")


class RoutingContract:
    """Subclass it with the fixtures ``app`` and ``advance``."""

    @pytest.fixture
    async def app(self) -> FlowStone:
        """Give an open application that has the coordinator, over an empty store."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `app`")

    @pytest.fixture
    def advance(self) -> Callable[[timedelta], Awaitable[None]]:
        """Give what lets time pass in the application's store."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `advance`")

    @pytest.fixture
    def routing(self, app: FlowStone) -> RoutingCoordinator:
        """Give the coordinator itself."""
        return app.coordinator(RoutingCoordinator)

    def test_it_is_of_this_contract(self, routing: RoutingCoordinator) -> None:
        check_implementation(routing, RoutingCoordinator, subject="the coordinator")

    @answers(305)
    async def test_what_is_recorded_is_found_by_its_router_and_by_its_id(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        run = await new_run(app.store, {"kind": []})

        recorded = await record(routing, run, "a", rule=Rule.CHOICE, predicate="is_a")

        expected = Decision(
            run["kind"], run.id, ROUTER, "", "a", ("a", "b"), Rule.CHOICE, predicate="is_a"
        )
        assert recorded == expected
        assert await routing.get(run.id, ROUTER, "") == expected
        assert await routing.to_output(recorded.decision_id) == expected

    async def test_a_fallback_keeps_its_error_and_no_branch_is_a_decision_too(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        run = await new_run(app.store, {"kind": [], "other": []})

        fallback = await record(routing, run, "b", rule=Rule.FALLBACK, error="no\nanswer: ü")
        nothing = await record(routing, run, None, router="other")

        ids = [nothing.decision_id, fallback.decision_id, nothing.decision_id, 4711]
        assert await routing.outputs(ids) == [fallback, nothing]
        assert await routing.outputs([]) == []
        assert fallback.error == "no\nanswer: ü"
        assert nothing.selected_branch is None
        assert await routing.decisions(run.id) == [fallback, nothing]

    @answers(304)
    async def test_the_first_one_stands(self, app: FlowStone, routing: RoutingCoordinator) -> None:
        run = await new_run(app.store, {"kind": []})

        first = await record(routing, run, "a")
        second = await record(routing, run, "b")

        assert second == first
        assert (await routing.get(run.id, ROUTER, "")).selected_branch == "a"

    async def test_one_of_many_at_once_stands_for_all(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        for _ in range(5):
            run = await new_run(app.store, {"kind": []})
            told = await asyncio.gather(
                *(record(routing, run, branch) for branch in ("a", "b", None) * 5)
            )
            assert set(told) == {await routing.get(run.id, ROUTER, "")}

    @answers(315)
    async def test_runs_and_partitions_have_decisions_of_their_own(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        first = await new_run(app.store, {"kind": []})
        second = await new_run(app.store, {"kind": []})
        monday = await new_run(app.store, {"kind": []}, partition="d:2025-01-13")

        await record(routing, first, "a")
        await record(routing, second, "b")
        await record(routing, monday, "a", partition="d:2025-01-13")

        found = [
            (await routing.get(first.id, ROUTER, "")).selected_branch,
            (await routing.get(second.id, ROUTER, "")).selected_branch,
            (await routing.get(monday.id, ROUTER, "d:2025-01-13")).partition,
        ]
        assert found == ["a", "b", "d:2025-01-13"]
        with pytest.raises(DecisionNotFoundError):
            await routing.get(monday.id, ROUTER, "")

    async def test_what_was_not_decided_is_said_by_name(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        run = await new_run(app.store, {"kind": []})

        with pytest.raises(DecisionNotFoundError, match=rf"'test\.kind\[x\]'.* in run {run.id}"):
            await routing.get(run.id, ROUTER, "x")
        with pytest.raises(DecisionNotFoundError, match="no decision 4711"):
            await routing.to_output(4711)
        assert await routing.decisions(run.id) == []
        assert await routing.remarks(run.id) == {}

    async def test_it_says_what_was_selected_and_why(
        self, app: FlowStone, routing: RoutingCoordinator
    ) -> None:
        run = await new_run(app.store, {"kind": [], "other": [], "third": [], "fourth": []})
        await record(routing, run, "a", rule=Rule.CHOICE, predicate="is_a")
        await record(routing, run, None, router="other")
        await record(routing, run, "b", router="third", rule=Rule.FUNCTION)
        await record(routing, run, "b", router="fourth", rule=Rule.FALLBACK, error="no")

        said = await routing.remarks(run.id)

        assert [said[run[name]] for name in ("kind", "other", "third", "fourth")] == [
            "a (is_a)",
            "no branch (by default)",
            "b (as its function said)",
            "b (fallback after no)",
        ]

    @answers(308, 309)
    async def test_decisions_go_with_their_run_and_not_before(
        self,
        app: FlowStone,
        routing: RoutingCoordinator,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        old = await ended(app, routing)
        await advance(timedelta(days=6))
        fresh = await ended(app, routing)
        await advance(timedelta(days=2))

        await prune(app.store, POLICY)

        assert await routing.decisions(fresh.id) != []
        with pytest.raises(DecisionNotFoundError):
            await routing.to_output(old["kind"])
        for router in (ROUTER, "test.other"):
            with pytest.raises(DecisionNotFoundError):
                await routing.get(old.id, router, "")

    async def test_a_late_one_of_a_run_that_is_gone_leaves_nothing(
        self,
        app: FlowStone,
        routing: RoutingCoordinator,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        run = await ended(app, routing)
        await advance(timedelta(days=8))
        await prune(app.store, POLICY)

        with pytest.raises(DecisionNotFoundError):
            await record(routing, run, "a")

        with pytest.raises(DecisionNotFoundError):
            await routing.to_output(run["kind"])


async def record(
    routing: RoutingCoordinator,
    run: SmallRun,
    branch: str | None,
    *,
    router: str = "kind",
    partition: str = "",
    rule: Rule = Rule.DEFAULT,
    predicate: str | None = None,
    error: str | None = None,
) -> Decision:
    """Record a decision of a router of the run."""
    return await routing.record(
        run.id,
        f"test.{router}",
        partition,
        branch,
        materialization_id=run[router],
        available_branches=["a", "b"],
        rule=rule,
        predicate=predicate,
        error=error,
    )


async def ended(app: FlowStone, routing: RoutingCoordinator) -> SmallRun:
    """Return a run that has decided twice, and ended without a value."""
    run = await new_run(app.store, {"kind": [], "other": []})
    await record(routing, run, "a")
    await record(routing, run, "b", router="other")
    worker = await new_worker(app.store)
    claims = await worker.claim(run=run)
    assert await worker.settle(*(failed(it) for it in claims.values())) == []
    return run
