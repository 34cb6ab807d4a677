"""Gates and many at once: each gets the answer that it would get alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Claim
from flowstone.core.status import Status
from flowstone.plugins.signal_gate.coordinator import (
    Answer,
    Gate,
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
from flowstone.testing.contracts.gate_suite import GateSuite
from flowstone.testing.contracts.store_runs import Worker, new_run, row, waited

MINUTE = timedelta(minutes=1)
NAMES = tuple("abcdefghijkl")


class GateCrowdContract(GateSuite):
    """Whatever is done for many together is done for each."""

    async def test_of_many_that_open_at_once_each_is_its_own(
        self, app: FlowStone, gates: GateCoordinator, worker: Worker
    ) -> None:
        claims = await self._claims(app, worker)
        await gates.create(_new(claims["a"], "closed by another"))
        await gates.signal("early", "7")
        late = NewGate(claims["c"].id, claims["c"].claim + 1, "late")
        asked = [
            _new(claims["a"], "a"),
            _new(claims["b"], "early"),
            late,
            _new(claims["d"], "twice"),
            _new(claims["e"], "twice"),
            *(_new(claims[it], it, timeout=None, metadata=f'"{it}"') for it in "fghijkl"),
        ]

        found = await asyncio.gather(*map(gates.create, asked), return_exceptions=True)

        a, early, lost, *twice = found[:5]
        assert isinstance(a, Gate)
        assert isinstance(early, Gate)
        assert (early.status, early.payload) == (GateStatus.SIGNALED, "7")
        assert isinstance(lost, ClaimLostError)
        assert sorted(type(it).__name__ for it in twice) == ["Gate", "TokenTakenError"]
        assert [_told(it) for it in found[5:]] == [
            (claims[it].id, f"test.{it}", it, f'"{it}"') for it in "fghijkl"
        ]
        assert [it.status for it in await gates.of_materialization(claims["a"].id)] == [
            GateStatus.WAITING,
            GateStatus.CANCELLED,
        ]
        assert len(await gates.waiting()) == 9
        opened = [it.id for it in found if isinstance(it, Gate)]
        assert [it.id for it in await asyncio.gather(*map(gates.get, opened))] == opened
        with pytest.raises(TokenTakenError):
            await gates.create(_new(claims["c"], "f"))

    async def test_who_opens_twice_at_once_has_one_open_gate(
        self, app: FlowStone, gates: GateCoordinator, worker: Worker
    ) -> None:
        claims = await self._claims(app, worker)
        # The first go at once, and what comes meanwhile goes together.
        first = [_new(claims[it], it) for it in "cdef"]
        asked = [_new(claims[name], token) for name, token in ("ax", "ay", "bz", "bz")]

        found = await asyncio.gather(*map(gates.create, [*first, *asked]))

        assert found[-1].id == found[-2].id
        of_a = await gates.of_materialization(claims["a"].id)
        assert sorted(it.status for it in of_a) == [GateStatus.CANCELLED, GateStatus.WAITING]
        assert {it.token for it in await gates.waiting()} - {"x", "y"} == set("cdefz")

    async def test_of_many_signals_at_once_each_has_its_own_answer(
        self,
        app: FlowStone,
        gates: GateCoordinator,
        worker: Worker,
        advance: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        claims = await self._claims(app, worker)
        short = {"e": TimeoutAction.FAIL, "r": TimeoutAction.RETRY}
        opened = {}
        for name, token in zip(NAMES, "abcdersoxyzf", strict=True):
            action, timeout = short.get(token, TimeoutAction.FAIL), MINUTE
            opened[token] = await gates.create(
                _new(
                    claims[name],
                    token,
                    timeout=timeout if token in short else None,
                    timeout_action=action,
                )
            )
        # All but `s` wait when their signals come.
        await worker.settle(*(waited(claims[it], "signal") for it in NAMES if it != "g"))
        await gates.signal("o", "1")
        await gates.cancel(opened["x"].id)
        await advance(MINUTE)

        sent = [*"abcdersox", "o", "y", "y", "f", "z", "early"]
        fits = {"test.a": True, "test.l": False}
        answered = await asyncio.gather(
            *(
                gates.signal(it, "2" if place == 9 else "1", sender='{"ip": "::1"}', fits=fits)
                for place, it in enumerate(sent)
            )
        )

        answers = [it.answer for it in answered]
        assert answers[:4] == [Answer.ACCEPTED] * 4
        assert answers[4] is Answer.EXPIRED
        assert answers[5:7] == [Answer.ACCEPTED] * 2
        assert answers[7:10] == [Answer.REPEATED, Answer.CANCELLED, Answer.ALREADY_SIGNALED]
        assert sorted(answers[10:12]) == [Answer.ACCEPTED, Answer.REPEATED]
        assert answers[12:] == [Answer.MISFIT, Answer.ACCEPTED, Answer.KEPT]
        first = answered[0].gate
        assert first is not None
        assert (first.id, first.payload, first.sender) == (opened["a"].id, "1", '{"ip": "::1"}')
        assert [it.gate.is_checked for it in answered[:4] if it.gate] == [True, False, False, False]
        left = {it.token for it in await gates.waiting()}
        assert left == {"e", "f"}
        statuses = {
            name: (await row(app.store, self.crowd, name)).status for name in (*"abcd", "f", "l")
        }
        assert statuses == {**dict.fromkeys("abcdf", Status.READY), "l": Status.WAITING}

    async def test_one_that_is_not_there_is_told_to_who_asked(
        self, app: FlowStone, gates: GateCoordinator, worker: Worker
    ) -> None:
        claims = await self._claims(app, worker)
        gate = await gates.create(_new(claims["a"], "a"))

        asked = [gate.id, gate.id + 1, gate.id, gate.id + 2, gate.id]
        found = await asyncio.gather(*map(gates.get, asked), return_exceptions=True)

        assert [isinstance(it, GateNotFoundError) for it in found] == [False, True] * 2 + [False]

    async def _claims(self, app: FlowStone, worker: Worker) -> Mapping[str, Claim]:
        self.crowd = await new_run(app.store, {name: [] for name in NAMES})
        return await worker.claim()


def _new(claim: Claim, token: str, **given: object) -> NewGate:
    return NewGate(claim.id, claim.claim, token, **given)  # type: ignore[arg-type]


def _told(gate: Gate | BaseException) -> object:
    assert isinstance(gate, Gate)
    return gate.materialization_id, gate.asset, gate.token, gate.metadata
