"""Gates and time: deadlines, waiting on, ages, ends."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.retention import Retention
from flowstone.plugins.signal_gate.coordinator import (
    Answer,
    Gate,
    GateCoordinator,
    GateStatus,
    TimeoutAction,
)
from flowstone.plugins.signal_gate.errors import (
    GateNotFoundError,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.gate_suite import GateSuite
from flowstone.testing.contracts.store_contract_pruning import prune
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    failed,
    new_run,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(seconds=20)
"""What a test may take by the store's clock."""


class GateTimeContract(GateSuite):
    """A gate is open until its deadline, and goes with what waits at it."""

    @answers(361)
    async def test_its_time_is_up_at_its_deadline_and_not_before(
        self,
        gates: GateCoordinator,
        run: SmallRun,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        gate = await gates.create(self.new())
        await advance(HOUR - MINUTE)
        assert (await gates.time_out(gate.id)).is_open

        await advance(MINUTE)
        late = await gates.signal("t", "1")
        over = await gates.time_out(gate.id)
        again = await gates.time_out(gate.id)

        assert late.answer is Answer.EXPIRED
        assert (over.status, over.payload) == (GateStatus.TIMEOUT, None)
        assert over.remaining == timedelta()
        assert again.ended_at == over.ended_at is not None
        assert (await gates.signal("t", "1")).answer is Answer.EXPIRED

    @answers(362)
    async def test_one_that_waits_on_does_so_for_longer_each_time(
        self,
        gates: GateCoordinator,
        run: SmallRun,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        gate = await gates.create(self.new(timeout_action=TimeoutAction.RETRY))
        waits = [HOUR, *(minutes * MINUTE for minutes in (5, 15, 45))]
        for retries, wait in enumerate(waits[:-1]):
            await advance(wait)
            gate = await gates.time_out(gate.id)
            assert (gate.status, gate.timeout_retries) == (GateStatus.WAITING, retries + 1)
            assert gate.remaining is not None
            assert waits[retries + 1] - MOMENT < gate.remaining <= waits[retries + 1]
            assert (await gates.time_out(gate.id)).timeout_retries == retries + 1

        await advance(waits[-1])
        assert (await gates.signal("t", "1")).answer is Answer.EXPIRED
        assert (await gates.time_out(gate.id)).status is GateStatus.TIMEOUT

    async def test_one_that_is_signaled_does_not_time_out(
        self,
        gates: GateCoordinator,
        run: SmallRun,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        gate = await gates.create(self.new())
        await gates.signal("t", "1")
        await advance(2 * HOUR)

        assert (await gates.time_out(gate.id)).status is GateStatus.SIGNALED

    @answers(364)
    async def test_open_ones_are_listed_by_their_deadlines(
        self, app: FlowStone, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        more = await new_run(app.store, {"b": [], "c": []})
        self.claims |= await worker.claim()
        for name, timeout in (("a", 2 * HOUR), ("x", None), ("b", HOUR), ("c", 3 * HOUR)):
            await gates.create(self.new(name, token=name, timeout=timeout))
        await gates.signal("c", "1")

        assert tokens(await gates.waiting()) == ["b", "a", "x"]
        assert tokens(await gates.waiting(limit=1)) == ["b"]
        assert tokens(await gates.waiting(asset="test.a")) == ["a"]
        assert more["b"] in {it.materialization_id for it in await gates.waiting()}

    @answers(365)
    async def test_how_long_it_waited_stands_when_it_ends(
        self,
        gates: GateCoordinator,
        run: SmallRun,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        await gates.create(self.new())
        await advance(timedelta(minutes=4))
        await gates.signal("t", "1")
        await advance(timedelta(minutes=30))

        gate = await gates.find("t")
        assert gate is not None
        assert timedelta(minutes=4) <= gate.waited < timedelta(minutes=4) + MOMENT

    async def test_what_attempts_have_failed_with_since_is_told(
        self, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        gate = await gates.create(self.new())
        assert gate.failures == ()
        await worker.settle(failed(self.claims["a"], '{"code": "signal_timeout"}'))

        assert (await gates.get(gate.id)).failures == ("signal_timeout",)

    async def test_a_kept_signal_goes_by_its_age(
        self,
        gates: GateCoordinator,
        run: SmallRun,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        for number in range(3):
            await gates.signal(f"old {number}", "1")
        await advance(2 * HOUR)
        await gates.signal("t", "1")

        assert [await gates.prune(HOUR, limit=2) for _ in range(3)] == [2, 1, 0]
        assert (await gates.create(self.new())).status is GateStatus.SIGNALED
        assert (await gates.create(self.new("x", token="old 1"))).is_open

    async def test_it_goes_with_its_materialization(
        self,
        app: FlowStone,
        gates: GateCoordinator,
        run: SmallRun,
        worker: Worker,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        gate = await gates.create(self.new())
        await worker.settle(failed(self.claims["a"]), failed(self.claims["x"]))
        await advance(timedelta(days=10))

        await prune(app.store, Retention("7d", failed="7d"))

        assert await gates.find("t") is None
        with pytest.raises(GateNotFoundError):
            await gates.get(gate.id)


def tokens(gates: Sequence[Gate]) -> list[str]:
    """Return the tokens of gates, in order."""
    return [gate.token for gate in gates]
