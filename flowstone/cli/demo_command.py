"""
``flowstone demo``: a real pipeline on real input, from nothing to an answer.

::

    Postgres ──▶ tables ──▶ a run of `environment.report` ──▶ a `flowstone worker` process
                                                                │
    terminal, page, the run as SQL shows it ◀── the report ◀────┘

Whatever ends it (the answer, a failure, Ctrl-C), the worker is stopped, and so is Postgres when
nobody else uses it.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from flowstone.cli.command import Command, pass_settings
from flowstone.cli.database import Database
from flowstone.cli.demo import environment, html, pipeline, terminal
from flowstone.cli.demo.records import Report
from flowstone.cli.demo_ending import (
    assets_statement,
    commands,
    print_answer,
    print_commands,
    print_page,
    progress_statement,
)
from flowstone.cli.demo_folder import DemoFolder
from flowstone.cli.demo_worker import DemoWorker
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, note, print_document, seconds_text, warn
from flowstone.cli.progress import following
from flowstone.cli.run_documents import run_document
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import RunRecord
from flowstone.core.errors import DatabaseError, FlowStoneError
from flowstone.core.handle import RunHandle
from flowstone.core.status import RunStatus
from flowstone.engine.select import Answer, select

WATCH_SECONDS = 0.2
"""How late it is noticed that the worker has ended."""

SIGNAL_SECONDS = 0.1
"""The event loop takes a signal in when it comes round."""


@click.command(cls=Command)
@click.option(
    "--fresh",
    is_flag=True,
    help="Start over: delete the demo's database; in one of your own, compute every value anew.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the page; in the demo's own folder if not said.",
)
@click.option("--psql", is_flag=True, help="Do nothing but open psql on the demo's database.")
@pass_settings
def demo_command(settings: Settings, fresh: bool, page: Path | None, psql: bool) -> ExitCode:
    """
    Examine this Python environment: is it intact, and what would surprise you?

    Ten assets read every installed distribution, check every file against its recorded hash (each
    file is an item of a scatter), draw
    the graph of requirements, sort licenses, find what is large and what belongs to nobody. A
    `flowstone worker` computes them on an embedded Postgres (or on --dsn, in a schema of their
    own). Both end with the demo; the data is kept, and what is fresh is reused the next time.
    """
    if settings.app is not None:
        raise click.UsageError("--app: the demo has a pipeline of its own; leave it out")
    if psql and (fresh or page is not None):
        raise click.UsageError("--psql does nothing but open psql; leave --fresh and --html out")
    if page is not None and not page.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {page.parent}", param_hint="--html")
    folder = DemoFolder.open()
    if psql:
        return _open_psql(settings, folder)
    if fresh and settings.dsn is None:
        folder.forget()
    return run_async(lambda: _Demo(settings, folder, page or folder.report).run(fresh=fresh))


@dataclass(slots=True)
class _Demo:
    settings: Settings
    folder: DemoFolder
    page: Path

    async def run(self, *, fresh: bool) -> ExitCode:
        begun = time.monotonic()
        # A terminal that is closed is no reason to leave a server behind.
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
        try:
            tables = FlowStone([pipeline.environment]).tables
            with self.folder.database(self.settings, tables) as database:
                async with FlowStone(
                    [pipeline.environment], dsn=database.dsn, schema=database.schema
                ) as app:
                    return await self._work(app, database, begun, fresh=fresh)
        except FlowStoneError:
            # Ctrl-C in a terminal also ends what starts Postgres: then it is that which counts.
            await asyncio.sleep(SIGNAL_SECONDS)
            raise

    async def _work(
        self, app: FlowStone, database: Database, begun: float, *, fresh: bool
    ) -> ExitCode:
        partition = environment.fingerprint()
        if fresh and not database.is_embedded:
            await app.invalidate(pipeline.distributions, partition=partition)
        handle = await app.enqueue(pipeline.report, partition=partition)
        record = await handle.status()
        self._say_what_is_to_do(record, partition)
        if not record.status.is_terminal:
            await self._compute(app, database, handle)
            record = await handle.status()
        report = None
        if record.status is RunStatus.SUCCEEDED:
            report = await handle.value_of(record)
        return self._show(database, record, report, partition, begun)

    def _say_what_is_to_do(self, record: RunRecord, partition: str) -> None:
        if record.status.is_terminal:
            what = f"all {record.reused_count} values are fresh and reused; no worker is needed"
        else:
            what = f"{sum(record.counts.values())} values to compute"
            what += f", {record.reused_count} fresh ones reused" * bool(record.reused_count)
        note(self.settings, f"Run {record.run_id} on environment {partition}: {what}")

    async def _compute(self, app: FlowStone, database: Database, handle: RunHandle[Report]) -> None:
        with DemoWorker(database, self.folder) as worker:
            note(self.settings, f"Worker: {worker.command} (process {worker.pid})")
            try:
                async with following(self.settings, app.store, handle.run_id, remarks=app.remarks):
                    await _ended(handle, worker)
            except BaseException:
                # Otherwise the next demo's worker would go on with what nobody waits for.
                with suppress(DatabaseError):
                    await handle.cancel()
                raise

    def _show(
        self,
        database: Database,
        record: RunRecord,
        report: Report | None,
        partition: str,
        begun: float,
    ) -> ExitCode:
        statements = (
            ("The run, as SQL shows it", progress_statement(database.schema, record.run_id)),
            (
                "What it computed and what it reused",
                assets_statement(database.schema, record.run_id),
            ),
        )
        answers = [
            (title, statement, select(database.dsn, statement, schema=database.schema))
            for title, statement in statements
        ]
        assets = answers[-1][-1].mappings()
        if report is not None:
            self._write_page(html.render(report, assets))
        if is_table(self.settings):
            self._print(database, record, report, partition, answers)
        else:
            document = {
                **run_document(record),
                "assets": assets,
                "verdict": report.verdict if report else None,
                "headline": report.headline if report else None,
                "answer": report.answer if report else None,
                "page": str(self.page) if report else None,
            }
            print_document(self.settings, document, "")
        note(self.settings, f"Done in {seconds_text(time.monotonic() - begun)}.")
        if report is None:
            warn(f"error: run {record.run_id} {record.status}")
        return ExitCode.FAILED if report is None else ExitCode.OK

    def _print(
        self,
        database: Database,
        record: RunRecord,
        report: Report | None,
        partition: str,
        answers: Sequence[tuple[str, str, Answer]],
    ) -> None:
        from rich.console import Console

        console = Console(no_color=self.settings.is_colored() is False, highlight=False)
        if not console.is_terminal:
            console.width = terminal.MOST_COLUMNS
        console.print()
        if report is not None:
            terminal.render(report, console)
        for title, statement, answer in answers:
            print_answer(console, title, statement, answer)
        if report is not None:
            print_page(console, self.page)
        further = commands(
            database, self.folder, record.run_id, partition, succeeded=report is not None
        )
        print_commands(console, list(further))

    def _write_page(self, text: str) -> None:
        try:
            self.page.write_text(text, encoding="utf-8")
        except OSError as error:
            raise click.UsageError(f"--html {self.page}: {error.strerror}") from error


async def _ended(handle: RunHandle[Report], worker: DemoWorker) -> None:
    """
    Wait for the run's end.

    Raises:
        WorkerEndedError: The worker ended before it.
    """
    waiting = asyncio.create_task(handle.wait())
    try:
        while not waiting.done():
            await asyncio.wait([waiting], timeout=WATCH_SECONDS)
            if not waiting.done():
                worker.check()
        await waiting
    finally:
        waiting.cancel()


def _open_psql(settings: Settings, folder: DemoFolder) -> ExitCode:
    """Run psql, in which unqualified names mean the demo's schema, to its end."""
    from flowstone.engine.dsn import normalize, with_search_path
    from flowstone.engine.embedded_cluster import bin_folder
    from flowstone.engine.statements import search_path

    tables = FlowStone([pipeline.environment]).tables
    with folder.database(settings, tables) as database:
        program = shutil.which("psql") if not database.is_embedded else None
        dsn = with_search_path(normalize(database.dsn), search_path(database.schema))
        # Ctrl-C ends a statement in psql, and nothing else.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            done = subprocess.run([program or bin_folder() / "psql", dsn], check=False)
        finally:
            signal.signal(signal.SIGINT, before)
    return ExitCode.OK if done.returncode == 0 else ExitCode.FAILED
