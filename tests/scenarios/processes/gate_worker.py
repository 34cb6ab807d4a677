"""
A worker that kills itself at a step of a gate's life: ``{"dsn": …, "step": …, "queue": …}``.

The steps: ``before_create``, ``after_create``, ``after_early`` (the gate was signaled as it
opened), ``before_go_on`` (it has seen the signal), ``after_go_on`` (on_signal has returned),
``after_time_out`` (the gate has timed out).
"""

import asyncio
import os
import signal
from datetime import timedelta

from flowstone import FlowStone
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.signal_gate.coordinator import Gate, GateCoordinator, GateStatus, NewGate
from flowstone.plugins.signal_gate.postgres_gates import PostgresGates
from tests.scenarios.deaths import LONG
from tests.scenarios.pipelines import dying_gates
from tests.scenarios.processes.life import argument, end_with_the_test


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(PostgresGates):
    def __init__(self, step: str) -> None:
        self.step = step

    async def create(self, gate: NewGate) -> Gate:
        if self.step == "before_create":
            die()
        found = await super().create(gate)
        if self.step in ("after_create", "after_early"):
            die()
        return found

    async def get(self, gate_id: int) -> Gate:
        found = await super().get(gate_id)
        if self.step == "before_go_on" and found.status is GateStatus.SIGNALED:
            die()
        return found

    async def time_out(self, gate_id: int) -> Gate:
        found = await super().time_out(gate_id)
        if self.step == "after_time_out" and found.status is GateStatus.TIMEOUT:
            die()
        return found


async def work(dsn: str, step: str) -> None:
    end_with_the_test()
    if step == "after_go_on":
        dying_gates.after_on_signal = die
    coordinators = {GateCoordinator: (Dying, {"step": step})}
    async with FlowStone(dying_gates.dying_gates, dsn=dsn, coordinators=coordinators) as app:
        await app.worker(WorkerOptions({step: 4}, lease=timedelta(seconds=LONG))).run()


if __name__ == "__main__":
    given = argument()
    asyncio.run(work(given["dsn"], given["step"]))
