"""Assistants in memory."""

from collections.abc import Sequence

from flowstone.core.contracts.assistants import Assistants
from flowstone.core.contracts.store import Key
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_job_machine import JobMachine
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.json_value import JsonText
from flowstone.core.status import Status


class MemoryAssistants(Assistants):
    """The part of the memory store that keeps them."""

    _clock: Clock
    _machine: JobMachine
    _last_id: int

    async def add_assistants(
        self,
        materialization_id: int,
        arguments: Sequence[JsonText],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Sequence[int]:
        it = self._machine.rows.get(materialization_id)
        if it is None or it.status not in (Status.READY, Status.RUNNING, Status.WAITING):
            return ()
        if it.run.is_cancel_asked:
            return ()
        rows = []
        for text in arguments:
            self._last_id += 1
            row = Row(
                id=self._last_id,
                run=it.run,
                key=Key(it.key.asset, f"\x1f{self._last_id}"),
                queue=it.queue if queue is None else queue,
                priority=it.priority if priority is None else priority,
                reason="assists",
                status=Status.READY,
                unmet=0,
                inputs=list(it.inputs),
                follows=[],
                dependents=(),
                optional_dependents=(),
                assists=it,
                assist_arguments=text,
            )
            rows.append(row)
        self._machine.add_assistants(it, rows)
        self._publish()
        return [row.id for row in rows]

    async def dismiss_assistants(self, materialization_id: int) -> int:
        it = self._machine.rows.get(materialization_id)
        count = 0 if it is None else self._machine.dismiss_assistants(it, self._clock.now())
        self._publish()
        return count

    def hasten_assistants(self, materialization_id: int) -> None:
        """Let those that were to be claimed later be claimed at once."""
        row = self._machine.rows.get(materialization_id)
        if row is not None:
            self._machine.hasten_assistants(row)
            self._publish()

    def status_of(self, materialization_id: int) -> Status | None:
        """Return where a materialization stands, for what a plugin keeps beside it in memory."""
        row = self._machine.rows.get(materialization_id)
        return None if row is None else row.status

    def holds(self, materialization_id: int, claim: int) -> bool:
        """Return whether a worker still has it, under this claim."""
        row = self._machine.rows.get(materialization_id)
        return row is not None and row.status is Status.RUNNING and row.claim == claim

    def count_assistants(self, materialization_id: int) -> tuple[int, int]:
        """Return how many of its assistants nobody has claimed, and how many have not ended."""
        row = self._machine.rows.get(materialization_id)
        open_ = [it for it in row.assistants if not it.status.is_terminal] if row else []
        return sum(it.status is Status.READY for it in open_), len(open_)

    def has_rivals(self, assistant_id: int) -> bool:
        """Return whether something else waits in the assistant's queue, as urgent as it is."""
        own = self._machine.rows.get(assistant_id)
        if own is None:
            return False
        now = self._clock.now()
        return any(
            row.queue == own.queue
            and row.assists is not own.assists
            and row.priority >= own.priority
            and (row.due is None or row.due <= now)
            and row.status in (Status.READY, Status.WAITING)
            for row in self._machine.heads.waiting()
        )

    def _publish(self) -> None:
        raise NotImplementedError
