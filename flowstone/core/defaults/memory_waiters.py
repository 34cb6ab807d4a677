"""The part of the memory store for materializations that wait for others themselves."""

import json
from abc import abstractmethod
from collections.abc import Sequence

from flowstone.core.contracts.awaiting import Awaited, Awaiting
from flowstone.core.defaults import memory_awaiting
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_job_machine import JobMachine


class MemoryAwaiting(Awaiting):
    """Those of the machine that also runs everything else."""

    _machine: JobMachine
    _clock: Clock

    async def awaited(self, materialization_id: int) -> Sequence[Awaited]:
        row = self._machine.rows.get(materialization_id)
        return [] if row is None else memory_awaiting.stand(row.awaits, self._machine.rows)

    async def followed(self, materialization_id: int) -> Sequence[Awaited]:
        row = self._machine.rows.get(materialization_id)
        return [] if row is None else memory_awaiting.stand(row.follows, self._machine.rows)

    async def give_up(
        self, materialization_id: int, claim: int, given_up: Sequence[int], reason: str
    ) -> int:
        row = self._machine.rows.get(materialization_id)
        if row is None:
            return 0
        said = json.dumps({"message": reason})
        count = self._machine.give_up(row, claim, given_up, said, self._clock.now())
        self._publish()
        return count

    @abstractmethod
    def _publish(self) -> None: ...
