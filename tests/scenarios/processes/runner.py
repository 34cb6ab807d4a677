"""
Runs one asset here and now, when the gate ``go`` opens, and prints its value as JSON.

``{"dsn": …, "pipelines": [name, …], "target": full name}``; before, it opens the gate
``ready-<pid>``.
"""

import asyncio
import json
import os
from dataclasses import asdict

from flowstone import FlowStone
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.made import Made
from tests.scenarios.processes.life import argument, end_with_the_test, pipeline


async def run(dsn: str, pipelines: list[str], target: str) -> None:
    end_with_the_test()
    ledger = Ledger.of_this_process()
    async with FlowStone([pipeline(name) for name in pipelines], dsn=dsn) as app:
        ledger.open_gate(f"ready-{os.getpid()}")
        await ledger.pass_gate("go")
        value = await app.run(target)
        assert isinstance(value, Made)
        print(json.dumps(asdict(value)), flush=True)


if __name__ == "__main__":
    given = argument()
    asyncio.run(run(given["dsn"], given["pipelines"], given["target"]))
