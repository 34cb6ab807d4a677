"""
Where the SQL lies, and the text that calls one of its functions.

SQL files never name the schema: they are loaded with ``search_path`` set to it, and functions
capture that path. Python names the schema in every call instead, so that a session needs no
state and a transaction-mode PgBouncer may sit in between.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from flowstone.core.errors import InvalidOptionError

SCHEMA_NAME_BYTES = 40  # NOTIFY channels carry the schema's name and end at 63 bytes


@lru_cache(maxsize=1)
def sql_root() -> Path:
    """Return the SQL folder: in a wheel it lies inside the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    packaged = package / "_sql"
    return packaged if packaged.is_dir() else package.parent / "sql"


@lru_cache
def script(name: str) -> str:
    """Return the text of one SQL file, such as ``core/views.sql``."""
    return (sql_root() / name).read_text(encoding="utf-8")


@lru_cache
def truth(feature: str) -> tuple[str, ...]:
    """
    Name the files that define one feature, in the order in which they load.

    Tables first, then functions, each in the order of the files' names, then views.
    """
    folder = sql_root() / feature
    files = [
        *sorted(folder.glob("tables/*.sql")),
        *sorted(folder.glob("functions/*.sql")),
        *folder.glob("views.sql"),
    ]
    return tuple(file.relative_to(sql_root()).as_posix() for file in files)


def digest() -> str:
    """Return what changes with whatever makes the tables: the hash of all files under ``sql/``."""
    root = sql_root()
    files = sorted(it for it in root.rglob("*") if it.suffix in (".sql", ".py"))
    texts = (f"{it.relative_to(root).as_posix()}\0{it.read_text('utf-8')}" for it in files)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


@lru_cache
def call(schema: str, function: str, *types: str) -> str:
    """
    Return the statement that calls a set-returning function with positional arguments.

    ``call("flowstone", "cancel_run_v1", "bigint", "text")`` is
    ``SELECT * FROM "flowstone"."cancel_run_v1"($1::bigint, $2::text)``.
    """
    arguments = ", ".join(f"${number}::{type_}" for number, type_ in enumerate(types, start=1))
    return f"SELECT * FROM {qualified(schema, function)}({arguments})"


def qualified(schema: str, name: str) -> str:
    """Return ``"schema"."name"``, both quoted."""
    return f"{quoted(schema)}.{quoted(name)}"


@lru_cache
def quoted(identifier: str) -> str:
    """Quote an SQL identifier; whatever it holds, it stays one."""
    return '"' + identifier.replace('"', '""') + '"'


@lru_cache
def search_path(schema: str) -> str:
    """
    Return the search_path that makes unqualified names mean this schema.

    Temporary tables come last, so that nobody's temporary table stands in for one of ours.
    """
    return f"{quoted(schema)}, pg_temp"


@lru_cache
def set_search_path(schema: str) -> str:
    """Return the statement that sets it until the end of the transaction."""
    return f"SET LOCAL search_path TO {search_path(schema)}"


def checked_schema_name(schema: str) -> str:
    """
    Return the name as it was given, or refuse it.

    Any identifier will do, quotes and semicolons included: it is always quoted.

    Raises:
        InvalidOptionError: It is empty, longer than 40 bytes in UTF-8, has a NUL, or begins with
            ``pg_``, which Postgres keeps for itself.
    """
    problem = _problem_of(schema)
    if problem:
        raise InvalidOptionError(f"schema {schema!r}: {problem}")
    return schema


def _problem_of(schema: str) -> str | None:
    if not isinstance(schema, str) or not schema:
        return "give the name of a Postgres schema, such as 'flowstone'"
    try:
        length = len(schema.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if length > SCHEMA_NAME_BYTES:
        return f"it has {length} bytes; at most {SCHEMA_NAME_BYTES} fit"
    if "\0" in schema:
        return "it contains a NUL character"
    if schema.startswith("pg_") or schema == "information_schema":
        return "Postgres keeps this name for itself"
    return None
