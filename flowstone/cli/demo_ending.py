"""What the demo ends with: the run as SQL shows it, and the commands to look further."""

import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flowstone.cli.database import Database
from flowstone.cli.demo_folder import APP, DemoFolder
from flowstone.cli.output import cell
from flowstone.engine.dsn import normalize, redacted
from flowstone.engine.select import Answer
from flowstone.engine.statements import quoted


def progress_statement(schema: str, run_id: int) -> str:
    """Return the SELECT that says how far a run is."""
    return f"""\
SELECT status, total, succeeded, skipped, failed, reused
FROM {_name(schema)}.run_progress
WHERE run_id = {run_id}"""


def assets_statement(schema: str, run_id: int) -> str:
    """Return the SELECT that says what became of each asset of a run, and why."""
    return f"""\
SELECT materialization_id AS id, asset, status, attempt, duration_ms AS ms,
       coalesce(error_message, reason) AS why
FROM {_name(schema)}.materializations
WHERE run_id = {run_id}
UNION ALL
SELECT materialization_id, asset, 'reused', NULL, NULL, reason
FROM {_name(schema)}.reused_values
WHERE run_id = {run_id}
ORDER BY id"""


def print_answer(console: Console, title: str, statement: str, answer: Answer) -> None:
    """Print a statement that can be pasted, and what it said."""
    console.print(Text(title, style="bold"))
    for line in f"{statement};".splitlines():
        console.print(Text(f"  {line}", style="cyan"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, name in enumerate(answer.columns):
        is_number = any(isinstance(row[place], int) for row in answer.rows)
        is_last = place == len(answer.columns) - 1
        widest = max((len(cell(row[place])) for row in answer.rows), default=0)
        table.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=not is_last,
            min_width=None if is_last else max(widest, len(name)),
        )
    for row in answer.rows:
        table.add_row(*(Text(cell(value), style=_style(value)) for value in row))
    console.print(Padding(table, (1, 0, 1, 2)))


def print_page(console: Console, page: Path) -> None:
    """Print where the page is."""
    console.print(Text("The same as a page", style="bold"))
    console.print(Text(f"  {page.absolute().as_uri()}\n", style="cyan"), soft_wrap=True)


def print_commands(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    """Print commands that can be pasted, each below what it does; never broken over lines."""
    console.print(Text("Look further", style="bold"))
    for command, purpose in commands:
        console.print(Text(f"  {purpose}", style="dim"), soft_wrap=True)
        console.print(Text(f"    {command}", style="cyan"), soft_wrap=True)


def commands(
    database: Database, folder: DemoFolder, run_id: int, partition: str, *, succeeded: bool
) -> Iterator[tuple[str, str]]:
    """Yield the commands that show more of what the demo did, and what each is for."""
    yield from _preparation(database, folder)
    if succeeded:
        yield f"flowstone runs show {run_id}", "the run"
    else:
        yield f"flowstone runs show {run_id} -v", "the run, with tracebacks"
    yield "flowstone asset graph", "the pipeline"
    if succeeded:
        yield f"flowstone asset value report -p {shlex.quote(partition)}", "the report as JSON"
        yield (
            f"flowstone asset invalidate licenses -p {shlex.quote(partition)}",
            "declare a value stale: the next demo computes it, and what was made from it",
        )
    if database.is_embedded:
        yield "flowstone demo --psql", "SQL; its Postgres runs for as long as psql does"
    else:
        statement = progress_statement(database.schema, run_id).replace("\n", " ")
        dsn = shlex.quote(redacted(database.dsn))
        yield f"psql {dsn} -c {shlex.quote(statement)}", "SQL"


def _preparation(database: Database, folder: DemoFolder) -> Iterator[tuple[str, str]]:
    steps = []
    script = Path(sysconfig.get_path("scripts"), "flowstone")
    if script.exists():
        found = shutil.which("flowstone")
        if found is None or not os.path.samefile(found, script):
            steps.append(f"export PATH={shlex.quote(str(script.parent))}:$PATH")
    else:
        steps.append(f"alias flowstone={shlex.quote(f'{sys.executable} -m flowstone')}")
    if not database.is_embedded:
        dsn = redacted(database.dsn)
        steps.append(f"export FLOWSTONE_APP={APP} FLOWSTONE_SCHEMA={shlex.quote(database.schema)}")
        steps.append(f"export FLOWSTONE_DSN={shlex.quote(dsn)}")
        has_password = dsn != normalize(database.dsn)
        yield " && ".join(steps), "for this shell" + ("; add the password" * has_password)
        return
    others = ("FLOWSTONE_APP", "FLOWSTONE_DSN", "FLOWSTONE_SCHEMA", "DATABASE_URL")
    said = [name for name in others if os.environ.get(name)]
    if said:
        steps.insert(0, f"unset {' '.join(said)}")
    steps.insert(0, f"cd {shlex.quote(str(folder.path))}")
    yield " && ".join(steps), "where the demo keeps what it made; no DSN is needed there"


def _name(schema: str) -> str:
    return schema if re.fullmatch("flowstone[a-z0-9_]*", schema) else quoted(schema)


def _style(value: object) -> str:
    return {"succeeded": "green", "reused": "blue", "failed": "red"}.get(str(value), "")
