"""What every keeper of gates has to do."""

import asyncio
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.contract_version import check_implementation
from flowstone.core.status import Status
from flowstone.plugins.signal_gate.coordinator import (
    Answer,
    GateCoordinator,
    GateStatus,
    NewGate,
    TimeoutAction,
)
from flowstone.plugins.signal_gate.errors import (
    ClaimLostError,
    GateNotFoundError,
    TokenTakenError,
)
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.gate_contract_crowd import GateCrowdContract
from flowstone.testing.contracts.gate_contract_time import GateTimeContract
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    failed,
    handed_back,
    row,
    waited,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(seconds=20)
"""What a test may take by the store's clock."""


class GateCoordinatorContract(GateTimeContract, GateCrowdContract):
    """Subclass it with the fixtures ``app`` and ``advance``."""

    def test_it_is_of_this_contract(self, gates: GateCoordinator) -> None:
        check_implementation(gates, GateCoordinator, subject="the coordinator")

    @answers(354)
    async def test_a_new_gate_waits_for_an_hour_and_then_fails(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        gate = await gates.create(self.new(token="ü/1.2"))

        assert (gate.materialization_id, gate.run_id, gate.asset) == (run["a"], run.id, "test.a")
        assert (gate.token, gate.status, gate.is_open) == ("ü/1.2", GateStatus.WAITING, True)
        assert gate.timeout_at == gate.opened_at + HOUR
        assert gate.remaining is not None
        assert HOUR - MOMENT < gate.remaining <= HOUR
        assert (gate.timeout_action, gate.timeout_retries) == (TimeoutAction.FAIL, 0)
        assert (gate.max_timeout_retries, gate.payload, gate.ended_at) == (3, None, None)

    @answers(355)
    async def test_it_is_as_it_was_said_to_be(self, gates: GateCoordinator, run: SmallRun) -> None:
        gate = await gates.create(
            self.new(
                attempt=2,
                timeout=None,
                timeout_action=TimeoutAction.RETRY,
                max_timeout_retries=5,
                metadata='{"b": 1, "a": [2]}',
            )
        )

        assert (gate.timeout_at, gate.remaining, gate.attempt) == (None, None, 2)
        assert (gate.timeout_action, gate.max_timeout_retries) == (TimeoutAction.RETRY, 5)
        assert gate.metadata == '{"b": 1, "a": [2]}'

    @answers(359)
    async def test_it_is_found_by_its_token_its_id_and_its_materialization(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        gate = await gates.create(self.new())

        for found in (
            await gates.find("t"),
            await gates.get(gate.id),
            *await gates.of_materialization(run["a"]),
        ):
            assert found is not None
            assert (found.id, found.token, found.opened_at) == (gate.id, "t", gate.opened_at)
        assert await gates.find("T") is None
        assert await gates.of_materialization(run["x"]) == []
        for verb in (gates.get, gates.time_out, gates.cancel):
            with pytest.raises(GateNotFoundError):
                await verb(gate.id + 1)

    async def test_a_run_is_remarked_upon(self, gates: GateCoordinator, run: SmallRun) -> None:
        await gates.create(self.new(token="first"))
        second = await gates.create(self.new(token="second"))
        other = await gates.create(self.new("x", token="other", timeout=None))
        await gates.signal("second", "1")

        assert [it.id for it in await gates.of_run(run.id)][1:] == [second.id, other.id]
        assert await gates.remarks(run.id) == {
            run["a"]: "gate 'second' was signaled after 0s",
            run["x"]: "gate 'other' is open for ever",
        }
        assert await gates.remarks(run.id + 1) == {}

    async def test_opening_it_twice_is_once(self, gates: GateCoordinator, run: SmallRun) -> None:
        first = await gates.create(self.new())
        again = await gates.create(self.new(timeout=2 * HOUR))

        assert (again.id, again.timeout_at) == (first.id, first.timeout_at)

    async def test_another_of_the_same_materialization_closes_it(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        first = await gates.create(self.new(token="first"))
        second = await gates.create(self.new(token="second"))

        assert (await gates.get(first.id)).status is GateStatus.CANCELLED
        assert (await gates.signal("first", "1")).answer is Answer.CANCELLED
        assert [it.id for it in await gates.of_materialization(run["a"])] == [second.id, first.id]

    async def test_the_token_of_an_open_gate_is_taken(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        gate = await gates.create(self.new())

        with pytest.raises(TokenTakenError, match="token 't' is taken"):
            await gates.create(self.new("x"))

        assert (await gates.get(gate.id)).is_open

    async def test_opening_it_again_after_an_early_signal_is_once(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        first = await gates.create(self.new())
        await gates.signal("t", "1")

        again = await gates.create(self.new())

        assert (again.id, again.status, again.payload) == (first.id, GateStatus.SIGNALED, "1")

    async def test_the_token_that_it_was_signaled_by_is_taken_for_it_alone(
        self, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        await gates.create(self.new())
        await worker.settle(waited(self.claims["a"], "signal"))
        await gates.signal("t", "1")
        woken = (await worker.claim())["a"]

        with pytest.raises(TokenTakenError):
            await gates.create(NewGate(woken.id, woken.claim, "t"))
        other = await gates.create(self.new("x"))

        assert other.is_open
        assert (await gates.find("t")) is not None
        assert (await gates.signal("t", "2")).answer is Answer.ACCEPTED

    async def test_a_late_claim_opens_nothing(
        self, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        late = self.new()
        await worker.settle(handed_back(self.claims["a"], None))
        with pytest.raises(ClaimLostError):
            await gates.create(late)
        again = (await worker.claim())["a"]

        with pytest.raises(ClaimLostError):
            await gates.create(late)
        assert (await gates.create(NewGate(again.id, again.claim, "t"))).is_open

    @answers(356)
    async def test_a_signal_is_kept_with_its_sender_and_wakes(
        self, app: FlowStone, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        await gates.create(self.new())
        await worker.settle(waited(self.claims["a"], "signal"))
        sender = '{"ip": "192.0.2.1", "headers": {"user-agent": "ecs"}}'

        answered = await gates.signal(
            "t", '{"b": 1.50, "a": "ü"}', sender=sender, fits={"test.a": True}
        )

        gate = answered.gate
        assert gate is not None
        assert (answered.answer, gate.status) == (Answer.ACCEPTED, GateStatus.SIGNALED)
        assert (gate.payload, gate.sender) == ('{"b": 1.50, "a": "ü"}', sender)
        assert gate.is_checked
        assert gate.signaled_at == gate.ended_at is not None
        assert (await row(app.store, run, "a")).status is Status.READY

    @answers(357)
    async def test_a_repeat_is_answered_as_one_and_another_is_refused(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        await gates.create(self.new())
        await gates.signal("t", '{"a": 1, "b": [true, null]}')

        answers = [
            (await gates.signal("t", payload)).answer
            for payload in (
                '{"b": [true, null], "a": 1.0}',
                '{"a": 1, "b": [1, null]}',
                '{"a": 1}',
                "null",
            )
        ]

        assert answers == [Answer.REPEATED, *[Answer.ALREADY_SIGNALED] * 3]
        gate = await gates.find("t")
        assert gate is not None
        assert gate.payload == '{"a": 1, "b": [true, null]}'

    async def test_what_does_not_fit_leaves_it_open(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        await gates.create(self.new())

        wrong = await gates.signal("t", "1", fits={"test.a": False, "test.b": True})

        assert wrong.answer is Answer.MISFIT
        assert wrong.gate is not None
        assert (wrong.gate.is_open, wrong.gate.payload) == (True, None)
        right = await gates.signal("t", "2", fits={"test.b": False})
        assert right.gate is not None
        assert (right.answer, right.gate.is_checked) == (Answer.ACCEPTED, False)
        assert (await gates.signal("t", "2", fits={"test.a": False})).answer is Answer.REPEATED

    async def test_of_many_at_once_one_is_accepted(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        await gates.create(self.new())

        answered = await asyncio.gather(*(gates.signal("t", str(it)) for it in range(8)))

        accepted = [it.gate for it in answered if it.answer is Answer.ACCEPTED]
        assert len(accepted) == 1
        assert {it.answer for it in answered} == {Answer.ACCEPTED, Answer.ALREADY_SIGNALED}

    async def test_a_signal_before_the_wait_ends_it_at_once(
        self, app: FlowStone, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        await gates.create(self.new())
        await gates.signal("t", "1")

        await worker.settle(waited(self.claims["a"], "signal"))

        assert (await row(app.store, run, "a")).status is Status.READY

    async def test_a_signal_before_the_gate_is_kept_for_it(
        self, app: FlowStone, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        kept = [(await gates.signal("t", payload)).answer for payload in ("1", "1.0", "2")]

        gate = await gates.create(self.new())
        await worker.settle(waited(self.claims["a"], "signal"))

        assert kept == [Answer.KEPT, Answer.KEPT, Answer.ALREADY_SIGNALED]
        assert (gate.status, gate.payload, gate.is_checked) == (GateStatus.SIGNALED, "1", False)
        assert (await row(app.store, run, "a")).status is Status.READY
        assert (await gates.signal("t", "1")).answer is Answer.REPEATED

    async def test_one_that_was_not_checked_can_be_taken_back(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        gate = await gates.create(self.new())
        await gates.signal("t", "1")
        claim = self.claims["a"].claim

        assert await gates.reopen(gate.id, claim + 1) is None
        again = await gates.reopen(gate.id, claim)
        assert again is not None
        assert (again.status, again.payload, again.timeout_at) == (
            GateStatus.WAITING,
            None,
            gate.timeout_at,
        )
        assert await gates.reopen(gate.id, claim) is None

        assert (await gates.signal("t", "2", fits={"test.a": True})).answer is Answer.ACCEPTED
        assert await gates.reopen(gate.id, claim) is None

    @answers(360)
    async def test_one_that_is_open_can_be_closed(
        self, app: FlowStone, gates: GateCoordinator, run: SmallRun, worker: Worker
    ) -> None:
        gate = await gates.create(self.new())
        await worker.settle(waited(self.claims["a"], "signal"))

        closed = await gates.cancel(gate.id)

        assert closed.status is GateStatus.CANCELLED
        assert (await row(app.store, run, "a")).status is Status.READY
        assert (await gates.cancel(gate.id)).ended_at == closed.ended_at
        assert (await gates.signal("t", "1")).answer is Answer.CANCELLED

    async def test_one_that_is_signaled_cannot_be_closed(
        self, gates: GateCoordinator, run: SmallRun
    ) -> None:
        gate = await gates.create(self.new())
        await gates.signal("t", "1")

        assert (await gates.cancel(gate.id)).status is GateStatus.SIGNALED

    @pytest.mark.parametrize("is_waiting", [True, False])
    async def test_it_closes_with_its_materialization(
        self,
        app: FlowStone,
        gates: GateCoordinator,
        run: SmallRun,
        worker: Worker,
        is_waiting: bool,
    ) -> None:
        gate = await gates.create(self.new())
        if is_waiting:
            await worker.settle(waited(self.claims["a"], "signal"))
            await app.store.cancel_run(run.id)
        else:
            await worker.settle(failed(self.claims["a"]))

        assert (await gates.get(gate.id)).status is GateStatus.CANCELLED
        assert await gates.waiting() == []
        assert (await gates.signal("t", "1")).answer is Answer.CANCELLED
