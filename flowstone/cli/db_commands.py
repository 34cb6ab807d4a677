"""``flowstone db``: the tables in the database."""

from typing import TYPE_CHECKING

import click

from flowstone.cli.application import load
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.database import database
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, print_document
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone

if TYPE_CHECKING:
    from flowstone.engine.revisions import SchemaStatus

EXPLAINED = {
    "absent": "there are no tables yet; run: flowstone db migrate",
    "pending": "the tables are older than this FlowStone; run: flowstone db migrate",
    "up_to_date": "the tables fit this FlowStone",
    "newer": "the tables are newer and still serve this FlowStone; upgrade it when you can",
    "ahead": "the tables are newer than this FlowStone; upgrade FlowStone",
}


@click.command(cls=Command)
@click.option("--sql", is_flag=True, help="Print the SQL that is pending, and run nothing.")
@pass_settings
def migrate_command(settings: Settings, sql: bool) -> None:
    """
    Create the tables, or bring them up to date; done twice, it changes nothing.

    Those of the application's plugins too. One transaction: it happens whole or not at all. Workers
    of the version before may run on.
    """
    from flowstone.engine.schema import migrate, pending_sql, status

    app = application_with_tables(settings)
    tables = app.tables if app else {}
    with database(settings, app, migrated=False) as place:
        if sql:
            pending = pending_sql(place.dsn, place.schema, tables=tables)
            print_document(settings, {"sql": pending}, pending or "-- nothing is pending")
            return
        applied = migrate(place.dsn, place.schema, tables=tables)
        head = status(place.dsn, place.schema).head
        text = "\n".join(f"applied {it}" for it in applied) or f"up to date at {head}"
        print_document(
            settings, {"applied": applied, "revision": head, "schema": place.schema}, text
        )


@click.command(cls=Command)
@pass_settings
def status_command(settings: Settings) -> ExitCode:
    """
    Say whether the tables fit this FlowStone and the application's plugins.

    Exits with 3 if any do not.
    """
    from flowstone.engine.schema import check, statuses

    app = application_with_tables(settings)
    tables = app.tables if app else {}
    with database(settings, app, migrated=False) as place:
        own, *brought = found = statuses(place.dsn, place.schema, tables=tables)
        document = {
            "schema": place.schema,
            **_document(own),
            "plugins": [{"plugin": it.plugin, **_document(it)} for it in brought],
        }
        print_document(settings, document, "\n".join(_line(place.schema, it) for it in found))
        if not all(it.fits for it in found):
            return ExitCode.ENVIRONMENT
        check(place.dsn, place.schema, tables=tables)
    return ExitCode.OK


def _document(found: "SchemaStatus") -> dict[str, object]:
    return {"state": found.state.value, "revision": found.current, "needed": found.head}


def _line(schema: str, found: "SchemaStatus") -> str:
    whose = f"plugin '{found.plugin}' in " if found.plugin else ""
    at = f"{whose}schema '{schema}' is at {found.current or 'none'}, needed {found.head}"
    code = f"plugin '{found.plugin}'" if found.plugin else "FlowStone"
    return f"{at}: {EXPLAINED[found.state].replace('FlowStone', code)}"


@click.command(cls=Command)
@click.argument(
    "kind", metavar="[batched|stock]", required=False, type=click.Choice(["batched", "stock"])
)
@pass_settings
def triggers_command(settings: Settings, kind: str | None) -> ExitCode:
    """
    Say which triggers record job events, or switch them.

    batched: FlowStone's, one insert of events and one notification per statement. stock:
    procrastinate's own, one per row. Both write the same events; the switch is one transaction.
    """
    from flowstone.engine import triggers

    with database(settings, chosen_application(settings)) as place:
        if kind == "batched":
            triggers.install(place.dsn, place.schema)
        elif kind == "stock":
            triggers.restore(place.dsn, place.schema)
        found = triggers.status(place.dsn, place.schema)
    text = str(found)
    if found is triggers.TriggerSet.MIXED and is_table(settings):
        text = "mixed: events are lost or written twice; run: flowstone db triggers batched"
    print_document(settings, {"triggers": found.value, "schema": place.schema}, text)
    return ExitCode.ENVIRONMENT if found is triggers.TriggerSet.MIXED else ExitCode.OK


def application_with_tables(settings: Settings) -> FlowStone | None:
    """Return the chosen application, whose plugins may bring tables; whichever database it is."""
    return None if settings.chosen_app() is None else load(settings)


def chosen_application(settings: Settings) -> FlowStone | None:
    """Return the application if its database may be the one that is meant."""
    if settings.demanded_dsn() is not None or settings.chosen_app() is None:
        return None
    return load(settings)
