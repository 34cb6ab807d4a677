"""Gates in tables beside the engine's: one SQL function a verb, in ``sql/signal_gate``."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from flowstone.core.contracts.host import Host
from flowstone.core.errors import DatabaseError
from flowstone.core.json_value import JsonText
from flowstone.engine.rows import Row, milliseconds
from flowstone.engine.store import PostgresStore
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


class PostgresGates(GateCoordinator):
    """Gates in the schema of the application's store."""

    async def open(self, app: Host) -> None:
        """Use the connections of the application's store."""
        await super().open(app)
        assert isinstance(app.store, PostgresStore), "chosen for a durable store"
        self._store = app.store

    async def create(self, gate: NewGate) -> Gate:
        types = ("bigint", "integer", "integer", "text", "bigint", "text", "integer", "text")
        try:
            found = await self._store.call(
                "signal_gate_create_v1",
                types,
                gate.materialization_id,
                gate.claim,
                gate.attempt,
                gate.token,
                milliseconds(gate.timeout),
                gate.timeout_action.value,
                gate.max_timeout_retries,
                gate.metadata,
            )
        except DatabaseError as error:
            if error.sqlstate == _TAKEN:
                raise TokenTakenError(gate.token) from error
            raise
        if not found:
            raise ClaimLostError(gate.materialization_id)
        return _gate(found[0])

    async def signal(
        self,
        token: str,
        payload: JsonText,
        *,
        sender: JsonText | None = None,
        fits: Mapping[str, bool] = NOT_CHECKED,
    ) -> Answered:
        (row,) = await self._store.call(
            "signal_gate_signal_v1",
            ("text", "text", "text", "text[]", "text[]"),
            token,
            payload,
            sender,
            [asset for asset, does in fits.items() if does],
            [asset for asset, does in fits.items() if not does],
        )
        gate = None if row["id"] is None else _gate(row)
        return Answered(Answer(row["answer"]), gate)

    async def time_out(self, gate_id: int) -> Gate:
        return await self._one("signal_gate_time_out_v1", gate_id)

    async def reopen(self, gate_id: int, claim: int) -> Gate | None:
        types = ("bigint", "integer")
        found = await self._store.call("signal_gate_reopen_v1", types, gate_id, claim)
        return _gate(found[0]) if found else None

    async def cancel(self, gate_id: int) -> Gate:
        return await self._one("signal_gate_cancel_v1", gate_id)

    async def get(self, gate_id: int) -> Gate:
        return await self._one("signal_gate_get_v1", gate_id)

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

    async def _one(self, function: str, gate_id: int) -> Gate:
        found = await self._store.call(function, ("bigint",), gate_id)
        if not found:
            raise GateNotFoundError(gate_id)
        return _gate(found[0])


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
