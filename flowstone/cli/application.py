"""
The user's application: found by ``module:attribute``, and opened on the right database.

The attribute is a `FlowStone`, a pipeline, or a list of pipelines. Which database is meant says
`flowstone.cli.settings`; an application that is given another one than its own stays the same in
everything else.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import reduce
from pathlib import Path
from types import ModuleType

import click

from flowstone.cli.database import database
from flowstone.cli.patience import patiently
from flowstone.cli.project import current_project
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.asset import Location
from flowstone.core.errors import FlowStoneError
from flowstone.core.errors.root import printable
from flowstone.core.pipeline import Pipeline
from flowstone.core.suggestion import suggest

NO_APP = """\
which application? Give --app module:attribute, set FLOWSTONE_APP, or write in pyproject.toml:

    [tool.flowstone]
    app = "module:attribute\""""


@contextmanager
def bound(
    settings: Settings,
    *,
    memory: bool = False,
    by_rows: bool = False,
    plugins: Iterable[str] = (),
) -> Iterator[FlowStone]:
    """
    Give the chosen application the database that is meant; it is not open yet.

    Args:
        memory: Without any database; what is stored is gone at the end.
        by_rows: Rows tell all that is wanted, so that without an application, or where the
            database is known anyway, none is imported.
        plugins: What has to be there. Rows of a plugin that the application does not use, or no
            longer, are read without it.

    Raises:
        click.UsageError: There is no application, or it cannot be imported.
        FlowStoneError: Its definitions are wrong, or there is no database.
    """
    known = settings.demanded_dsn() is not None or settings.chosen_app() is None
    app = FlowStone([], plugins=plugins) if by_rows and known else load(settings)
    if by_rows and not {*plugins} <= {it.name for it in app.plugins}:
        app = FlowStone([], plugins=plugins, dsn=app.dsn, schema=app.schema)
    if memory:
        if settings.dsn is not None:
            raise click.UsageError("--memory uses no database; leave --dsn out")
        yield app.with_dsn(None)
        return
    with database(settings, app) as place:
        is_its_own = (place.dsn, place.schema) == (app.dsn, app.schema)
        yield app if is_its_own else app.with_dsn(place.dsn, schema=place.schema)


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    memory: bool = False,
    by_rows: bool = False,
    patient: bool = False,
    plugins: Iterable[str] = (),
) -> AsyncIterator[FlowStone]:
    """
    Open what `bound` gives, and close it at the end.

    Args:
        patient: Wait for a database that is away.

    Raises:
        DatabaseError: The database is not usable as it is; beside what `bound` raises.
    """
    with bound(settings, memory=memory, by_rows=by_rows, plugins=plugins) as app:
        await (patiently(app.open) if patient else app.open())
        try:
            yield app
        finally:
            await app.close()


def load(settings: Settings) -> FlowStone:
    """
    Import the chosen application; nothing is connected.

    Raises:
        click.UsageError: None is chosen, it cannot be imported, or it is something else.
        DefinitionError: Pipelines are wrong.
    """
    chosen = settings.chosen_app()
    if chosen is None:
        raise click.UsageError(NO_APP)
    name, _, attribute = chosen.partition(":")
    module = _module(name, chosen)
    return _as_application(_attribute(module, attribute or "app", chosen), chosen)


def _module(name: str, chosen: str) -> ModuleType:
    for folder in (current_project().root, Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except FlowStoneError as error:
        _name_place(error)
        raise
    except (ImportError, ValueError, TypeError) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise click.UsageError(
                f"--app {chosen}: there is no module '{missing}' in {Path.cwd()} or among the "
                f"installed packages{_meant(name)}"
            ) from error
        if not name or name.startswith("."):
            raise click.UsageError(f"--app {chosen}: expected module:attribute") from error
        raise _import_failure(chosen, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(chosen, error) from error


def _import_failure(chosen: str, error: BaseException) -> click.UsageError:
    """Say what the module's code raised, and where: the last line that is not ours."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        last = _last_frame(error)
        place = f"{last.filename}:{last.lineno}"
    what = traceback.format_exception_only(error)[-1].strip()
    return click.UsageError(f"--app {chosen} cannot be imported: {what}  ({place})")


def _name_place(error: FlowStoneError) -> None:
    """Add the author's line that it came from, unless it tells of places itself."""
    last = _last_frame(error)
    place = str(Location(last.filename, last.lineno or 1))
    if not getattr(error, "problems", ()) and place not in str(error):
        error.args = (f"{place}  {error}", *error.args[1:])


def _last_frame(error: BaseException) -> traceback.FrameSummary:
    frames = traceback.extract_tb(error.__traceback__)
    return ([it for it in frames if _is_users(it.filename)] or frames)[-1]


def _meant(name: str) -> str:
    """Return what was probably meant by a file's name, or by a dot in the place of the colon."""
    head, dot, tail = name.rpartition(".")
    if not dot or importlib.util.find_spec(head.partition(".")[0]) is None:
        return ""
    return f"; did you mean --app {head}:{'app' if tail == 'py' else tail}?"


def _is_users(filename: str) -> bool:
    machinery = (Path(__file__).parents[1], Path(importlib.__file__).parent)
    is_file = not filename.startswith("<")
    return is_file and not any(Path(filename).is_relative_to(it) for it in machinery)


def _attribute(module: ModuleType, path: str, chosen: str) -> object:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError as error:
        found = {
            name for name, value in vars(module).items() if isinstance(value, FlowStone | Pipeline)
        }
        meant = suggest(path, found)
        advice = f"did you mean '{meant}'?" if meant else f"there is: {', '.join(sorted(found))}"
        raise click.UsageError(
            f"--app {chosen}: module '{module.__name__}' has no '{path}'"
            + (f"; {advice}" if found else "")
        ) from error


def _as_application(found: object, chosen: str) -> FlowStone:
    if isinstance(found, FlowStone):
        return found
    if isinstance(found, Pipeline):
        return FlowStone([found])
    if isinstance(found, list | tuple) and found and all(isinstance(it, Pipeline) for it in found):
        return FlowStone(found)
    raise click.UsageError(
        f"--app {chosen} is {printable(found, repr)[:80]}; expected a FlowStone, a Pipeline, "
        "or a list of pipelines"
    )
