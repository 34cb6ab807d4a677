"""Orphans: what attempts wrote that never counted, swept by the application or by a worker."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Retry, Skip
from flowstone.core import sweeping
from flowstone.core.contracts.io_manager import Address, IOManager, Written
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import InvalidOptionError, NotRegisteredError, StorageError
from flowstone.core.retention import Retention
from flowstone.core.sweeping import Sweeping
from flowstone.plugins.io_files import FilesIO
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually, working

NOW = timedelta()
"""A grace period that is over at once."""


class FailsAfterWriting(FilesIO):
    """Its first writes are on disk when it loses its nerve."""

    def __init__(self, root: str, failures: int = 1) -> None:
        super().__init__(root)
        self.failures = failures

    async def store(self, address: Address, value: object) -> Written:
        written = await super().store(address, value)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the share went away")
        return written


def pipeline(**options: Any) -> Pipeline:
    p = Pipeline("p", retry=Retry(3, base=0), **options)

    @p.asset
    async def base() -> dict[str, int]:
        return {"value": 1}

    @p.asset
    async def other() -> int | Skip:
        return 2

    return p


def files(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.rglob("*.json"))


async def test_what_a_failed_attempt_wrote_goes_and_what_counts_stays(
    app_of: AppOf, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FailsAfterWriting(str(tmp_path))})
    await app.run(["base", "other"])
    before = files(tmp_path)

    (plan,) = await app.sweep(grace=NOW, dry_run=True)
    assert files(tmp_path) == before
    (young,) = await app.sweep()
    assert files(tmp_path) == before
    (swept,) = await app.sweep(grace=NOW)

    assert (plan.io, plan.found_count, plan.orphan_count) == ("lake", 3, 1)
    assert young.orphan_count == 0
    assert (swept.orphan_count, swept.examples) == (1, plan.examples)
    assert swept.orphan_bytes == plan.orphan_bytes > 0
    assert len(files(tmp_path)) == 2
    assert await app.get("base") == {"value": 1}
    assert await app.get("other") == 2


async def test_superseded_values_stay_for_as_long_as_their_rows(
    app_of: AppOf, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})
    first = await app.enqueue("base")
    await drain(app)
    await app.run("base", force=True)

    await app.sweep(grace=NOW)

    assert len(files(tmp_path)) == 2
    assert await first.result() == {"value": 1}


async def test_a_value_whose_time_is_over_goes_and_the_current_one_stays(
    app_of: AppOf, stage: Stage, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})
    for _ in range(3):
        await app.run("base", force=True)
    await stage.advance("8d")

    await app.sweep(grace=NOW)
    assert len(files(tmp_path)) == 3
    while not (await app.store.prune(Retention(values="7d"))).is_done:
        pass
    (swept,) = await app.sweep(grace=NOW)

    assert (swept.found_count, swept.orphan_count) == (3, 2)
    assert await app.get("base") == {"value": 1}


async def test_two_stores_in_one_folder_leave_each_other_alone(
    app_of: AppOf, tmp_path: Path
) -> None:
    """A notebook, which numbers its materializations from one, and a database."""
    io = FilesIO(tmp_path)
    app = await app_of(pipeline(io="lake"), io={"lake": io})
    async with FlowStone(pipeline(io="lake"), io={"lake": io}) as notebook:
        await app.run("base")
        await notebook.run("base")
        assert len(files(tmp_path)) == 2

        swept = [*await app.sweep(grace=NOW), *await notebook.sweep(grace=NOW)]

        assert [(it.found_count, it.orphan_count) for it in swept] == [(1, 0), (1, 0)]
        assert await notebook.get("base") == await app.get("base") == {"value": 1}


async def test_every_place_that_is_registered_or_that_an_asset_configures_is_swept(
    app_of: AppOf, tmp_path: Path
) -> None:
    p = pipeline(io=("files", {"root": str(tmp_path / "configured")}))
    registered = MemoryIO()
    io = {"default": registered, "same": registered}
    app = await app_of(p, io=io, plugins=_files_plugin())
    await app.run("base", io=("files", {"root": str(tmp_path / "called")}))
    await app.run("other")

    swept = {it.io: it for it in await app.sweep(grace=NOW)}
    (called,) = await app.sweep(("files", {"root": str(tmp_path / "called")}))

    configured = f'files {{"root":"{tmp_path}/configured"}}'
    assert {name: it.found_count for name, it in swept.items()} == {
        "default": 0,
        configured: 1,
        "same": 0,
    }
    assert called.found_count == 1


async def test_a_manager_that_cannot_tell_is_said_to_be_so_and_one_that_fails_stops_no_other(
    app_of: AppOf, tmp_path: Path
) -> None:
    class Silent(MemoryIO):
        written = IOManager.written

    class Fails(MemoryIO):
        async def written(self, origin: str) -> Any:
            raise StorageError("no answer")
            yield

    io = {"a": Silent(), "b": Fails(), "c": FailsAfterWriting(str(tmp_path))}
    app = await app_of(pipeline(io="c"), io=io)
    await app.run("base")

    silent, fails, lake = await app.sweep(grace=NOW)

    assert (silent.problem, silent.has_failed) == ("Silent cannot tell what it has written", False)
    assert (fails.problem, fails.has_failed) == ("no answer", True)
    assert (lake.orphan_count, lake.problem) == (1, None)


async def test_the_store_itself_and_unknown_names_are_refused(app_of: AppOf) -> None:
    app = await app_of(pipeline(), io={"lake": MemoryIO()})

    with pytest.raises(InvalidOptionError, match="the store itself leaves no orphans"):
        await app.sweep("default")
    with pytest.raises(NotRegisteredError, match="Did you mean 'lake'"):
        await app.sweep("lak")
    assert [it.io for it in await app.sweep()] == ["lake"]


class TestByWorkers:
    async def test_one_of_all_workers_sweeps_when_it_is_due_and_not_before(
        self, app_of: AppOf, stage: Stage, tmp_path: Path
    ) -> None:
        io = FailsAfterWriting(str(tmp_path), failures=2)
        app, other = [await app_of(pipeline(io="lake"), io={"lake": io}) for _ in range(2)]
        first, second = [Sweeping(it._sweeper, NOW) for it in (app, other)]
        await app.run("base")
        assert len(files(tmp_path)) == 3

        assert await first.sweep_if_due(app.store)
        assert len(files(tmp_path)) == 1
        io.failures = 1
        await app.run("other")
        assert not await first.sweep_if_due(app.store)
        assert not await second.sweep_if_due(other.store)
        assert len(files(tmp_path)) == 3
        await stage.advance(sweeping.EVERY)
        assert await second.sweep_if_due(other.store)

        assert len(files(tmp_path)) == 2

    async def test_a_sweep_that_is_cut_short_is_due_again_at_once(
        self, app_of: AppOf, tmp_path: Path
    ) -> None:
        class Endless(FilesIO):
            async def written(self, origin: str) -> Any:
                listing.set()
                await asyncio.Event().wait()
                yield

        listing = asyncio.Event()
        app = await app_of(pipeline(), io={"lake": Endless(tmp_path)})
        begun = asyncio.create_task(Sweeping(app._sweeper, NOW).sweep_if_due(app.store))
        await listing.wait()

        begun.cancel()
        await asyncio.wait([begun])

        assert await app.store.hold_lease(sweeping.LEASE, "the next one", sweeping.EVERY)

    async def test_a_worker_does_so_by_itself(
        self, app_of: AppOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweeping, "FIRST_SECONDS", 0)
        io = {"lake": FailsAfterWriting(str(tmp_path))}
        app = await app_of(pipeline(io="lake"), io=io, sweep_after="0s")
        await app.run("base")
        assert len(files(tmp_path)) == 2

        async with working(app):
            await eventually(lambda: len(files(tmp_path)) == 1)

        assert await app.get("base") == {"value": 1}

    @pytest.mark.parametrize(
        ("options", "services"),
        [
            ({"io": {"lake": MemoryIO}}, ["sweeping"]),
            ({"io": {"lake": MemoryIO}, "sweep_after": None}, []),
            ({}, []),
        ],
    )
    def test_it_is_a_service_of_applications_that_have_something_to_sweep(
        self, options: dict[str, Any], services: list[str]
    ) -> None:
        names = FlowStone(pipeline(), **options).registries.services.list()

        assert [it for it in names if it == "sweeping"] == services


def _files_plugin() -> list[Any]:
    from flowstone.plugins.io_files.plugin import FilesPlugin

    return [FilesPlugin()]
