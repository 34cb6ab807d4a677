"""
Gates in tables beside the engine's: one SQL function a verb, in ``sql/signal_gate``.

Of the verbs that many call at once (a worker with hundreds of claims, a server with as many
requests) there is a second function each, for as many at once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core.contracts.host import Host
from flowstone.core.errors import DatabaseError
from flowstone.core.json_value import JsonText
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.store import PostgresStore
from flowstone.engine.together import Together
from flowstone.plugins.signal_gate.coordinator import (
    NOT_CHECKED,
    Answer,
    Answered,
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

_TAKEN = "FS100"
_NEW = ("bigint", "integer", "integer", "text", "bigint", "text", "integer", "text")


@dataclass(frozen=True, slots=True)
class _Signal:
    token: str
    payload: JsonText
    sender: JsonText | None
    fits: Mapping[str, bool]


class PostgresGates(GateCoordinator):
    """Gates in the schema of the application's store."""

    async def open(self, app: Host) -> None:
        """Use the connections of the application's store."""
        await super().open(app)
        assert isinstance(app.store, PostgresStore), "chosen for a durable store"
        self._store = app.store
        self._create = Together(self._create_one, self._create_many)
        self._signal = Together(self._signal_one, self._signal_many)
        self._get = Together(self._get_one, self._get_many)

    async def create(self, gate: NewGate) -> Gate:
        return await self._create(gate)

    async def signal(
        self,
        token: str,
        payload: JsonText,
        *,
        sender: JsonText | None = None,
        fits: Mapping[str, bool] = NOT_CHECKED,
    ) -> Answered:
        return await self._signal(_Signal(token, payload, sender, fits))

    async def time_out(self, gate_id: int) -> Gate:
        return await self._one("signal_gate_time_out_v1", gate_id)

    async def reopen(self, gate_id: int, claim: int) -> Gate | None:
        types = ("bigint", "integer")
        found = await self._store.call("signal_gate_reopen_v1", types, gate_id, claim)
        return _gate(found[0]) if found else None

    async def cancel(self, gate_id: int) -> Gate:
        return await self._one("signal_gate_cancel_v1", gate_id)

    async def get(self, gate_id: int) -> Gate:
        return await self._get(gate_id)

    async def find(self, token: str) -> Gate | None:
        found = await self._store.call("signal_gate_find_v1", ("text",), token)
        return _gate(found[0]) if found else None

    async def of_materialization(self, materialization_id: int) -> Sequence[Gate]:
        found = await self._store.call(
            "signal_gate_of_materialization_v1", ("bigint",), materialization_id
        )
        return [_gate(row) for row in found]

    async def of_run(self, run_id: int) -> Sequence[Gate]:
        found = await self._store.call("signal_gate_of_run_v1", ("bigint",), run_id)
        return [_gate(row) for row in found]

    async def waiting(self, *, asset: str | None = None, limit: int = 100) -> Sequence[Gate]:
        found = await self._store.call("signal_gate_waiting_v1", ("text", "integer"), asset, limit)
        return [_gate(row) for row in found]

    async def prune(self, older: timedelta, *, limit: int = 1000) -> int:
        count: int = await self._store.call_value(
            "signal_gate_prune_v1", ("bigint", "integer"), milliseconds(older), limit
        )
        return count

    async def _create_one(self, gate: NewGate) -> Gate:
        try:
            found = await self._store.call("signal_gate_create_v1", _NEW, *_arguments(gate))
        except DatabaseError as error:
            if error.sqlstate == _TAKEN:
                raise TokenTakenError(gate.token) from error
            raise
        if not found:
            raise ClaimLostError(gate.materialization_id)
        return _gate(found[0])

    async def _create_many(self, gates: Sequence[NewGate]) -> Sequence[Gate | None]:
        found = await self._store.call(
            "signal_gate_create_many_v1",
            [f"{it}[]" for it in _NEW],
            *map(list, zip(*map(_arguments, gates), strict=True)),
        )
        opened = {row["materialization_id"]: _gate(row) for row in found}
        return [opened.get(it.materialization_id) for it in gates]

    async def _signal_one(self, signal: _Signal) -> Answered:
        (row,) = await self._store.call(
            "signal_gate_signal_v1",
            ("text", "text", "text", "text[]", "text[]"),
            signal.token,
            signal.payload,
            signal.sender,
            [asset for asset, does in signal.fits.items() if does],
            [asset for asset, does in signal.fits.items() if not does],
        )
        gate = None if row["id"] is None else _gate(row)
        return Answered(Answer(row["answer"]), gate)

    async def _signal_many(self, signals: Sequence[_Signal]) -> Sequence[Answered | None]:
        found = await self._store.call(
            "signal_gate_signal_many_v1",
            ("text[]", "text[]", "text[]", "text[]"),
            [it.token for it in signals],
            [it.payload for it in signals],
            [it.sender for it in signals],
            [json.dumps(dict(it.fits)) if it.fits else None for it in signals],
        )
        # Of several for one token the first was accepted.
        accepted = {row["token"]: Answered(Answer(row["answer"]), _gate(row)) for row in found}
        return [accepted.pop(it.token, None) for it in signals]

    async def _get_one(self, gate_id: int) -> Gate:
        (gate,) = await self._get_many([gate_id])
        if gate is None:
            raise GateNotFoundError(gate_id)
        return gate

    async def _get_many(self, gate_ids: Sequence[int]) -> Sequence[Gate | None]:
        found = await self._store.call("signal_gate_get_v1", ("bigint[]",), [*gate_ids])
        gates = {row["id"]: _gate(row) for row in found}
        return [gates.get(it) for it in gate_ids]

    async def _one(self, function: str, gate_id: int) -> Gate:
        found = await self._store.call(function, ("bigint",), gate_id)
        if not found:
            raise GateNotFoundError(gate_id)
        return _gate(found[0])


def _arguments(gate: NewGate) -> tuple[object, ...]:
    return (
        gate.materialization_id,
        gate.claim,
        gate.attempt,
        gate.token,
        milliseconds(gate.timeout),
        gate.timeout_action.value,
        gate.max_timeout_retries,
        gate.metadata,
    )


def _gate(row: Row) -> Gate:
    remaining = row["remaining_ms"]
    return Gate(
        id=row["id"],
        materialization_id=row["materialization_id"],
        run_id=row["run_id"],
        asset=row["asset"],
        partition=row["partition"],
        attempt=row["attempt"],
        token=row["token"],
        status=GateStatus(row["status"]),
        opened_at=row["opened_at"],
        timeout_at=row["timeout_at"],
        remaining=None if remaining is None else timedelta(milliseconds=remaining),
        timeout_action=TimeoutAction(row["timeout_action"]),
        timeout_retries=row["timeout_retries"],
        max_timeout_retries=row["max_timeout_retries"],
        metadata=row["metadata"],
        signaled_at=row["signaled_at"],
        payload=row["payload"],
        sender=row["sender"],
        is_checked=row["is_checked"],
        ended_at=row["ended_at"],
        waited=timedelta(milliseconds=row["waited_ms"]),
        failures=tuple(row["failures"]),
    )
