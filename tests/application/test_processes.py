"""``executor="process"``: functions in child processes that are kept, killed and replaced."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flowstone import FlowStone, RunFailedError
from flowstone.core.call_beginning import on_beginning
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import ProcessDiedError
from flowstone.core.processes.call import Call, Facts
from flowstone.core.processes.children import Children
from flowstone.core.processes.place import place_of
from flowstone.core.processes.processes import Processes
from flowstone.core.worker_options import WorkerOptions
from tests.application import in_processes
from tests.application.conftest import AppOf
from tests.application.in_processes import FOLDER, Tagging, work
from tests.application.stage import Stage, drain, eventually, statuses, steps, working

DAY = date(2024, 5, 17)
IO = {"kept": MemoryIO}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where children write what they do; its gate is open at the latest when the test is over."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    yield tmp_path
    (tmp_path / "gate").touch()


@pytest.fixture
async def app(app_of: AppOf) -> FlowStone:
    return await app_of(work, io=IO)


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # gone before it was read, or meanwhile
        return False


def called(asset: str) -> Call:
    facts = Facts(asset=f"work.{asset}", partition="", run_id=1, materialization_id=1, attempt=1)
    return Call(facts, [])


async def said(folder: Path, name: str) -> int:
    """Wait for a child's file, and return the process id in it."""
    await eventually((folder / name).exists)
    return int((folder / name).read_text())


class TestValues:
    async def test_inputs_and_result_are_those_of_a_thread(self, app: FlowStone) -> None:
        given = {"partition": DAY, "config": {"least": 1}}

        in_process = await app.run("report_process", **given)  # type: ignore[call-overload]
        in_thread = await app.run("report_thread", **given)  # type: ignore[call-overload]

        assert in_process == in_thread
        assert in_process["orders"] == [{"id": 2, "day": "2024-05-17"}]
        assert in_process["missing"] is None

    async def test_it_is_encoded_once_by_the_child_with_the_applications_codec(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(work, io=IO, codec=Tagging("ours"))

        handle = await app.enqueue(in_processes.coded)
        await drain(app)

        assert await handle.result() == [1]
        (step,) = (await steps(app, handle.run_id)).values()
        (text,) = (await app.store.values([step.id])).values()
        stored = json.loads(text)
        tag, by = stored["by"].split()
        assert (tag, stored["is"]) == ("ours", [1])
        assert int(by) != os.getpid()

    async def test_an_io_manager_gets_and_gives_values_not_texts(self, app: FlowStone) -> None:
        assert await app.run(in_processes.from_kept) is True

        (order,) = await app.get(in_processes.kept)
        assert isinstance(order, in_processes.Order)

    async def test_large_ones_cross_as_far_as_they_can_be_stored(self, app: FlowStone) -> None:
        assert await app.run(in_processes.larger) == "x" * in_processes.LARGE + "y"

        with pytest.raises(RunFailedError, match="bytes of JSON are more than"):
            await app.run(in_processes.too_large)

    async def test_what_cannot_be_stored_says_where(self, app: FlowStone) -> None:
        with pytest.raises(RunFailedError, match=r"at \$\.here\[0\]") as failed:
            await app.run(in_processes.not_storable)

        assert failed.value.failures[0].error["code"] == "value_not_storable"

    @pytest.mark.parametrize(("what", "status"), [("skip", "skipped"), ("cancel", "cancelled")])
    async def test_outcomes_are_outcomes(self, app: FlowStone, what: str, status: str) -> None:
        handle = await app.enqueue(in_processes.outcome, config={"what": what})
        await drain(app)

        assert await statuses(app, handle.run_id) == {"outcome": status}

    async def test_a_snooze_keeps_its_delay(self, app: FlowStone, stage: Stage) -> None:
        handle = await app.enqueue(in_processes.outcome, config={"what": "snooze"})
        await drain(app)
        await stage.advance("59m")
        await drain(app)

        assert await statuses(app, handle.run_id) == {"outcome": "ready"}

    async def test_a_strategy_supplies_and_gets_values(self, app: FlowStone) -> None:
        assert await app.run(in_processes.doubled) == 16  # in the child that `pid` ran in


class TestChildren:
    async def test_one_is_kept_for_what_comes_next(self, app: FlowStone) -> None:
        first = await app.run(in_processes.pid)
        second = await app.run(in_processes.pid, force=True)

        assert first == second != os.getpid()

    async def test_they_end_with_the_application(self, stage: Stage) -> None:
        async with stage.build(work, io=IO) as app:
            child = await app.run(in_processes.pid)
            assert is_alive(child)

        assert not is_alive(child)

    async def test_so_many_run_at_once(self, app: FlowStone, folder: Path) -> None:
        runs = [await app.enqueue(in_processes.held, force=True) for _ in range(3)]
        worker = app.worker(WorkerOptions({"default": 3}, drain=True, child_processes=2))
        task = asyncio.create_task(worker.run())
        await eventually(lambda: len(list(folder.glob("held-*"))) == 2)
        for _ in range(2):
            await (await app.enqueue(in_processes.beside, queue="other", force=True)).status()
        (folder / "gate").touch()
        await task

        pids = {await run.result() for run in runs}
        assert len(pids) == 2

    async def test_a_deadline_stands_still_while_one_is_waited_for(self, folder: Path) -> None:
        children = Children(JsonCodec())
        processes = Processes(children, limit=1)
        first = asyncio.create_task(processes.call(in_processes.held, called("held"), None))
        await said(folder, "held-1")
        begun: list[str] = []

        async def call(deadline: asyncio.Timeout) -> object:
            on_beginning.set(lambda: begun.append("second"))
            return await processes.call(in_processes.pid, called("pid"), deadline)

        async with asyncio.timeout(60) as deadline:
            second = asyncio.create_task(call(deadline))
            await eventually(lambda: deadline.when() is None)
            assert not begun

            (folder / "gate").touch()

            assert await second == await first
            assert begun == ["second"]
            assert deadline.when() is not None
        await children.close()

    async def test_other_code_than_the_workers_is_not_run(
        self, app: FlowStone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = await app.enqueue(in_processes.pid)
        monkeypatch.setitem(vars(in_processes.pid), "code_version", "older")

        await drain(app)

        (step,) = (await steps(app, handle.run_id)).values()
        assert step.status == "ready"
        assert "has changed since this worker was started" in str(step.error)

    async def test_they_have_no_socket_but_their_own(self, app: FlowStone) -> None:
        assert await app.run(in_processes.sockets) == 1

    async def test_signals_that_everybody_gets_are_the_workers(self, app: FlowStone) -> None:
        assert await app.run(in_processes.signalled) is True

    async def test_what_they_print_and_log_is_the_workers(
        self,
        app: FlowStone,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        caplog.set_level("ERROR", "quiet")
        caplog.set_level("INFO", "flowstone.asset")

        await app.run(in_processes.noisy)

        assert capfd.readouterr().out == "printed in the child\n"
        assert [it.getMessage() for it in caplog.records] == [
            "this is logged",
            "with its traceback",
        ]
        first, second = caplog.records
        assert (first.asset, first.where) == ("work.noisy", "child")  # type: ignore[attr-defined]
        assert "ValueError: told" in caplog.text
        assert second.process != os.getpid()


class TestErrors:
    @pytest.mark.parametrize("how", ["odd", "local", "lost", "stop", "exit"])
    async def test_they_are_told_as_those_of_a_thread(self, app: FlowStone, how: str) -> None:
        told = {}
        for where in ("process", "thread"):
            with pytest.raises(RunFailedError) as failed:
                await app.run(f"raises_{where}", config={"how": how})
            told[where] = dict(failed.value.failures[0].error)
            asset, run_id = f"work.raises_{where}", failed.value.run_id
            context = {"asset": asset, "partition": "", "run_id": run_id}
            assert told[where].pop("context") == context

        traceback = str(told["process"].pop("traceback"))
        assert "in _raise" in traceback
        del told["thread"]["traceback"]
        assert told["process"] == told["thread"]

    async def test_retry_judges_their_classes(self, app: FlowStone) -> None:
        assert await app.run(in_processes.odd_at_first) == 2

    async def test_resources_do_not_reach_the_context(self, app: FlowStone) -> None:
        with pytest.raises(RunFailedError, match='leave executor="process" out'):
            await app.run(in_processes.wants_resource)


class TestDeaths:
    @pytest.mark.parametrize(
        ("how", "told"),
        [
            ("kill", "was killed by SIGKILL; is the system out of memory?"),
            ("abort", "was killed by SIGABRT"),
            ("exit", "ended with exit code 3"),
        ],
    )
    async def test_one_fails_its_own_asset_and_nothing_else(
        self, app: FlowStone, folder: Path, how: str, told: str
    ) -> None:
        other = await app.enqueue(in_processes.held)
        async with working(app):
            await said(folder, f"held-{other.run_id}")

            fatal = await app.enqueue(in_processes.dies, config={"how": how})
            with pytest.raises(RunFailedError, match="The child process") as failed:
                await fatal.result(60)

            (folder / "gate").touch()
            assert await other.result(60) == int((folder / f"held-{other.run_id}").read_text())
        error = failed.value.failures[0].error
        assert (error["message"], error["code"]) == (f"The child process {told}", "process_died")

    async def test_it_is_tried_again(self, app: FlowStone, stage: Stage) -> None:
        handle = await app.enqueue(in_processes.dies_at_first)
        await drain(app)
        await stage.advance("1m")
        await drain(app)

        assert await handle.result() == 2

    async def test_forks_of_one_are_killed(self, app: FlowStone, folder: Path) -> None:
        with pytest.raises(RunFailedError, match="was killed by SIGKILL"):
            await app.run(in_processes.dies_before_its_fork, config={"leaves": False})

        fork = await said(folder, "dies_before_its_fork")
        await eventually(lambda: not is_alive(fork))

    async def test_it_is_seen_although_a_fork_has_gone_its_own_way(
        self, app: FlowStone, folder: Path
    ) -> None:
        try:
            with pytest.raises(RunFailedError, match="was killed by SIGKILL"):
                await app.run(in_processes.dies_before_its_fork, config={"leaves": True})
        finally:
            os.kill(await said(folder, "dies_before_its_fork"), signal.SIGKILL)

    async def test_that_of_an_idle_one_is_nobodys(self) -> None:
        children = Children(JsonCodec())
        wanted = place_of(in_processes.pid), in_processes.pid.code_version
        first = await children.lend(*wanted)
        children.take_back(first)
        os.kill(first.pid, signal.SIGKILL)  # which is not known here before it is asked

        second = await children.lend(*wanted)

        assert first.pid != second.pid
        assert second.is_well
        children.take_back(second)
        await children.close()


class TestStopping:
    async def test_a_timeout_kills_and_frees_the_slot(self, app: FlowStone) -> None:
        child = await app.run(in_processes.pid)
        late = await app.enqueue(in_processes.too_long)
        after = await app.enqueue(in_processes.pid, force=True)
        async with working(app, default=1):
            with pytest.raises(RunFailedError, match="timed out after 250ms"):
                await late.result(60)
            assert await after.result(60) not in (child, os.getpid())

        await eventually(lambda: not is_alive(child))

    async def test_a_cancelled_one_is_killed_and_nobody_waits_for_it_meanwhile(
        self, app: FlowStone, folder: Path
    ) -> None:
        endless = await app.enqueue(in_processes.for_ever)
        async with working(app, default=2):
            pid = await said(folder, "for_ever")
            assert await (await app.enqueue(in_processes.beside)).result(60) == "beside"

            await endless.cancel()

            await endless.wait(60)
            await eventually(lambda: not is_alive(pid))
        assert await statuses(app, endless.run_id) == {"for_ever": "cancelled"}

    async def test_what_a_killed_one_has_started_is_killed_too(
        self, app: FlowStone, folder: Path
    ) -> None:
        run = await app.enqueue(in_processes.starts_another)
        async with working(app):
            pid = await said(folder, "starts_another")
            assert is_alive(pid)

            await run.cancel()

            await eventually(lambda: not is_alive(pid))

    async def test_the_end_of_its_socket_is_the_end_of_what_it_is_at(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowstone.core.processes.child.LAST_SECONDS", 60)
        children = Children(JsonCodec())
        processes = Processes(children, limit=1)
        asset = in_processes.starts_another
        call = asyncio.create_task(processes.call(asset, called(asset.name), None))
        pid = await said(folder, asset.name)

        async with asyncio.timeout(30):
            await children.close()

        with pytest.raises(ProcessDiedError):
            await call
        await eventually(lambda: not is_alive(pid))

    async def test_a_worker_that_is_stopped_hands_back_and_kills(
        self, app: FlowStone, folder: Path
    ) -> None:
        endless = await app.enqueue(in_processes.for_ever)
        async with working(app, default=1) as worker:
            pid = await said(folder, "for_ever")
            worker._running.stop_all()
            worker.stop()
        await eventually(lambda: not is_alive(pid))

        assert await statuses(app, endless.run_id) == {"for_ever": "ready"}
