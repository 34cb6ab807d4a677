"""What the pages under docs/ have their reader run does run."""

import asyncio
import shlex
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import asyncpg
import click
import procrastinate
import pytest

from flowstone import FlowStone
from flowstone.cli.root import root
from flowstone.core.worker_options import WorkerOptions
from tests.docs.code_blocks import blocks


def run(page: str) -> Mapping[str, Any]:
    """Run a page's Python, piece by piece, as one program; return what it has defined."""
    program = ModuleType("program")
    for block in blocks(page, "python"):
        code = compile("\n" * (block.line - 1) + block.text, page, "exec")
        exec(code, vars(program))  # the page's own assertions are the test
    return vars(program)


def test_the_concepts_are_a_program_that_holds() -> None:
    defined = run("docs/concepts.md")

    assert set(defined) >= {"shop", "orders", "spent", "best"}


def test_the_page_about_parallel_assets_is_a_program_that_holds() -> None:
    assert "data" in run("docs/parallel.md")


def test_the_page_about_jobs_is_a_program_that_holds() -> None:
    assert "send_mail" in run("docs/jobs.md")


def test_the_page_about_approvals_is_a_program_that_holds() -> None:
    assert {"trade", "webhook"} <= set(run("docs/approvals.md"))


def test_the_page_about_gates_is_a_program_that_holds() -> None:
    assert "signals" in run("docs/signal-gates.md")


def test_the_page_about_routing_is_a_program_that_holds() -> None:
    assert "decision" in run("docs/routing.md")


def test_the_page_about_scatters_is_a_program_that_holds() -> None:
    assert "paid" in run("docs/scatter.md")


def test_the_page_about_scatters_that_run_is_a_program() -> None:
    assert "slow_down" in run("docs/scatter-operations.md")


async def test_the_job_of_that_page_pays_and_enqueues_with_its_settlement(
    dsn: str, pg: asyncpg.Connection
) -> None:
    defined = await asyncio.to_thread(run, "docs/jobs.md")
    await pg.execute("CREATE TABLE public.accounts (id integer, cents integer)")
    await pg.execute("INSERT INTO public.accounts VALUES (1, 1000)")

    async with FlowStone(defined["shop"], dsn=dsn) as app:
        assert isinstance(defined, dict)
        defined["app"] = app
        job = await app.enqueue(defined["pay"].with_(account=1, cents=100))
        await app.worker(WorkerOptions({"default": 1, "mail": 1}, drain=True)).run()
        assert await job.result(timeout=60) == 899

    assert await pg.fetchval("SELECT cents FROM public.accounts") == 899
    mails = (
        "SELECT count(*) FROM flowstone.jobs WHERE job = 'shop.send_mail' AND status = 'succeeded'"
    )
    assert await pg.fetchval(mails) == 1


@pytest.mark.parametrize(
    "page", ["docs/from-procrastinate.md", "docs/from-oban.md", "docs/step-functions.md"]
)
def test_a_page_for_those_who_come_from_elsewhere_is_a_program_that_holds(page: str) -> None:
    assert "app" in run(page)


async def test_tasks_of_procrastinates_run_beside_us_and_on_our_workers(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSTONE_DSN", dsn)
    defined = run("docs/operating.md")
    mail: procrastinate.App = defined["mail"]
    send = mail.tasks["program.send"]
    app: FlowStone = defined["app"]

    async with mail.open_async(), app:
        jobs = [await send.defer_async(to="Ada")]
        await mail.run_worker_async(queues=["mail"], wait=False, install_signal_handlers=False)
        jobs.append(await send.defer_async(to="Grace"))
        working = asyncio.create_task((worker := app.worker()).run())
        status = mail.job_manager.get_job_status_async
        async with asyncio.timeout(20):
            while {await status(job) for job in jobs} != {procrastinate.jobs.Status.SUCCEEDED}:
                await asyncio.sleep(0.02)
        worker.stop()
        await working


@pytest.mark.parametrize(
    "line",
    [
        it
        for page in (
            "docs/operating.md",
            "docs/jobs.md",
            "docs/approvals.md",
            "docs/scatter-operations.md",
        )
        for block in blocks(page, "sh")
        for it in block.text.splitlines()
    ],
)
def test_a_command_is_one(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    command: click.Command | None = root
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        command = command.get_command(click.Context(command), name)

    assert program == "flowstone"
    assert command is not None
    command.make_context(name, arguments)
