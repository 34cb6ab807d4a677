"""
Assets whose values are files, written when the test wants.

``held`` is stored in steps: at ``writing-<claim>`` nothing is written yet and the gate
``write-<claim>`` is waited for; at ``written-<claim>`` the file is there, and nobody is told before
the gate ``settle-<claim>`` opens. A thread does it, which nobody can cancel.
"""

import asyncio
import time

from flowstone import Context, Pipeline
from flowstone.core.contracts.io_manager import Address, IOManager, Written
from flowstone.plugins.io_files import FilesIO
from tests.scenarios.ledger import GATE_SECONDS, Ledger
from tests.scenarios.pipelines.made import Made, begin, made

filed = Pipeline("filed", io="lake")


class InSteps(FilesIO):
    async def store(self, address: Address, value: object) -> Written:
        if address.asset != held.full_name:
            return await super().store(address, value)
        return await asyncio.to_thread(self._store_in_steps, address, value)

    def _store_in_steps(self, address: Address, value: object) -> Written:
        self._halt("writing", "write", address)
        written = asyncio.run(super().store(address, value))
        self._halt("written", "settle", address)
        return written

    def _halt(self, at: str, gate: str, address: Address) -> None:
        ledger = Ledger.of_this_process()
        ledger.open_gate(f"{at}-{address.claim}")
        deadline = time.monotonic() + GATE_SECONDS
        while not ledger.is_open(f"{gate}-{address.claim}") and time.monotonic() < deadline:
            time.sleep(0.01)


def lake() -> IOManager:
    return InSteps(Ledger.of_this_process().folder / "lake")


IO = {"lake": lake}


@filed.asset
async def held(ctx: Context) -> Made:
    return made(begin(ctx))


@filed.asset
async def plain(ctx: Context) -> Made:
    return made(begin(ctx))
