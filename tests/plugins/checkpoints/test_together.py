"""Decisions that come at once share a commit, and none is held up or harmed by another."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest

from flowstone import FlowStone
from flowstone.core.contracts.store import Claim
from flowstone.core.errors import DatabaseError
from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalRules,
    ApprovalStatus,
    CheckpointCoordinator,
    Verdict,
)
from flowstone.testing.contracts.checkpoint_scenario import new
from flowstone.testing.contracts.store_runs import SmallRun, Worker, new_run, new_worker, waited
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected

NAMES = tuple(f"n{number}" for number in range(60))
COMMITS = "SELECT count(DISTINCT xmin::text) FROM flowstone.checkpoints_approvals"
LOCK = "SELECT FROM flowstone.procrastinate_jobs WHERE id = $1 FOR UPDATE"


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[FlowStone]:
    async with FlowStone([], dsn=dsn, plugins=["checkpoints"]) as app:
        yield app


@pytest.fixture
def approvals(app: FlowStone) -> CheckpointCoordinator:
    return app.coordinator(CheckpointCoordinator)


class Crowd:
    """A run whose assets are all claimed by a worker."""

    def __init__(self, app: FlowStone) -> None:
        self.approvals = app.coordinator(CheckpointCoordinator)
        self._store = app.store
        self.run: SmallRun
        self.worker: Worker
        self.claims: Mapping[str, Claim]

    async def begin(self) -> None:
        self.run = await new_run(self._store, {name: [] for name in NAMES})
        self.worker = await new_worker(self._store)
        self.claims = await self.worker.claim()

    async def ask(self, name: str) -> Approval:
        return await self.approvals.request(new(self.claims[name], self.run, ApprovalRules()))

    async def approve(self, name: str, value: str | None = None) -> Approval:
        id_ = self.claims[name].id
        return await self.approvals.decide(id_, Verdict.APPROVE, by="ann", value=value)


@pytest.fixture
async def crowd(app: FlowStone) -> Crowd:
    crowd = Crowd(app)
    await crowd.begin()
    return crowd


async def test_many_at_once_are_few_commits(crowd: Crowd, pg: asyncpg.Connection) -> None:
    await asyncio.gather(*map(crowd.ask, NAMES))
    assert await pg.fetchval(COMMITS) <= 4
    await crowd.worker.settle(*map(waited, crowd.claims.values()))

    decided = await asyncio.gather(*map(crowd.approve, NAMES))

    assert {it.status for it in decided} == {ApprovalStatus.APPROVED}
    assert await pg.fetchval(COMMITS) <= 4


async def test_one_whose_row_is_locked_holds_up_none_of_those_beside_it(
    crowd: Crowd, dsn: str, pg: asyncpg.Connection
) -> None:
    async with connected(dsn) as other, other.transaction():
        await other.execute(LOCK, crowd.claims["n7"].id)
        asking = {name: asyncio.create_task(crowd.ask(name)) for name in NAMES}
        for name in NAMES:
            if name != "n7":
                assert (await asking[name]).status.is_open
        await eventually(lambda: behind_a_lock(pg, "checkpoints_request_v1"))
    assert (await asking["n7"]).status.is_open
    await crowd.worker.settle(*map(waited, crowd.claims.values()))

    async with connected(dsn) as other, other.transaction():
        await other.execute(LOCK, crowd.claims["n8"].id)
        deciding = {name: asyncio.create_task(crowd.approve(name)) for name in NAMES}
        for name in NAMES:
            if name != "n8":
                assert (await deciding[name]).status is ApprovalStatus.APPROVED
        await eventually(lambda: behind_a_lock(pg, "checkpoints_decide_v1"))
    assert (await deciding["n8"]).status is ApprovalStatus.APPROVED


async def test_one_that_the_database_refuses_harms_none_of_those_beside_it(crowd: Crowd) -> None:
    await asyncio.gather(*map(crowd.ask, NAMES))
    await crowd.worker.settle(*map(waited, crowd.claims.values()))

    found = await asyncio.gather(
        *(crowd.approve(name, "{" if name == "n9" else None) for name in NAMES),
        return_exceptions=True,
    )

    refused = [name for name, it in zip(NAMES, found, strict=True) if isinstance(it, DatabaseError)]
    assert refused == ["n9"]
    assert (await crowd.approve("n9")).status is ApprovalStatus.APPROVED
