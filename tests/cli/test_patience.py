"""A worker that starts while its database is away."""

import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flowstone.cli.patience import patiently
from flowstone.core.errors import DatabaseUnreachableError, SchemaVersionError
from tests.cli.invocation import Process, flowstone


class TestWaiting:
    async def test_goes_on_until_somebody_answers(self, capsys: pytest.CaptureFixture[str]) -> None:
        answers = [DatabaseUnreachableError("gone", retryable=True), "here"]

        async def connect() -> str:
            match answers.pop(0):
                case Exception() as error:
                    raise error
                case answer:
                    return str(answer)

        assert await patiently(connect) == "here"
        assert capsys.readouterr().err.startswith("gone; trying again, for 60s at most")

    async def test_ends_with_what_was_last_in_the_way(self) -> None:
        async def connect() -> str:
            raise DatabaseUnreachableError("gone", retryable=True)

        with pytest.raises(DatabaseUnreachableError, match="gone"):
            await patiently(connect, seconds=0)

    async def test_does_not_begin_where_it_would_not_help(self) -> None:
        async def connect() -> str:
            raise SchemaVersionError("not migrated")

        with pytest.raises(SchemaVersionError):
            await patiently(connect)


def test_a_worker_starts_before_its_database_does(durable: Path, tmp_path: Path) -> None:
    given = conninfo_to_dict(os.environ["FLOWSTONE_DSN"])
    host = str(given.get("host", ""))
    if not host.startswith("/"):
        pytest.skip("the server has no socket that could be hidden")
    flowstone("enqueue", "report")
    later = tmp_path / "socket"
    dsn = make_conninfo("", **{**given, "host": str(later)})

    with Process("worker", "--drain", environment={"FLOWSTONE_DSN": dsn}) as worker:
        worker.says("cannot be reached.*trying again")
        later.symlink_to(host)
        worker.says("serves")
        assert worker.ends().exit_code == 0
