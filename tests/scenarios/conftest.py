"""A folder, processes and an application for each scenario."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flowstone import FlowStone
from tests.scenarios.ledger import FOLDER, Ledger
from tests.scenarios.pipelines.batch import batch
from tests.scenarios.pipelines.gated import gated
from tests.scenarios.pipelines.halves import halves
from tests.scenarios.pipelines.hanging import hanging
from tests.scenarios.pipelines.heavy import heavy
from tests.scenarios.pipelines.limited import limited
from tests.scenarios.pipelines.paying import paying
from tests.scenarios.pipelines.poison import poison
from tests.scenarios.pipelines.random_dag import random_dag
from tests.scenarios.spawned import Spawner, spawning

pytest.register_assert_rewrite("tests.scenarios.consistency")

PIPELINES = [batch, gated, halves, hanging, paying, poison, heavy, limited, random_dag]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return Ledger(tmp_path)


@pytest.fixture
def spawn(ledger: Ledger) -> Iterator[Spawner]:
    with spawning(ledger.folder) as spawner:
        yield spawner


@pytest.fixture
async def app(dsn: str, ledger: Ledger) -> AsyncIterator[FlowStone]:
    """The application of the one who enqueues; it works on nothing itself."""
    async with FlowStone(PIPELINES, dsn=dsn) as app:
        yield app
