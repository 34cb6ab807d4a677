"""One DSN, three drivers."""

from urllib.parse import quote

import asyncpg
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from flowstone.core.errors import InvalidOptionError
from flowstone.engine.dsn import (
    for_asyncpg,
    for_sqlalchemy,
    normalize,
    redacted,
    with_database,
    with_search_path,
)


def complaint_about(dsn: str) -> str:
    try:
        return str(for_asyncpg(dsn).keys())
    except InvalidOptionError as error:
        return str(error)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


class TestNormalizing:
    @pytest.mark.parametrize(
        ("given", "normal"),
        [
            ("postgresql://user@host/database", "postgresql://user@host/database"),
            ("postgres://host", "postgresql://host"),
            ("postgresql+asyncpg://u:p@h:1/d", "postgresql://u:p@h:1/d"),
            ("postgresql+psycopg://u@h/d", "postgresql://u@h/d"),
            ("host=h port=6000 dbname='a b' user=me", "postgresql://me@h:6000/a%20b"),
            ("host=/a/folder dbname=d", "postgresql:///d?host=/a/folder"),
            ("postgresql://u:@/d?host=/a/folder", "postgresql://u@/d?host=/a/folder"),
            ("postgresql://[::1]:5/d", "postgresql://[::1]:5/d"),
            ("postgresql://a,b:5433/d", "postgresql:///d?host=a%2Cb&port=5432%2C5433"),
            ("dbname=d", "postgresql:///d"),
            ("  postgresql://h/d  ", "postgresql://h/d"),
            ("postgresql://h/d?sslmode=require", "postgresql://h/d?sslmode=require"),
        ],
    )
    def test_every_spelling_becomes_the_same(self, given: str, normal: str) -> None:
        assert normalize(given) == normal
        assert normalize(normal) == normal

    @given(user=TEXT, password=TEXT, database=TEXT)
    def test_any_user_password_and_database_come_through(
        self, user: str, password: str, database: str
    ) -> None:
        written = [quote(part, safe="") for part in (user, password, database)]
        normal = normalize("postgresql://{}:{}@host/{}".format(*written))

        url = make_url(for_sqlalchemy(normal))
        assert (url.username, url.password, url.database) == (user, password, database)
        parts = psycopg.conninfo.conninfo_to_dict(normal)
        assert (parts["user"], parts["password"], parts["dbname"]) == (user, password, database)
        assert normalize(normal) == normal

    @pytest.mark.parametrize(
        "garbage",
        [
            "",
            "   ",
            "hello",
            "mysql://user@host/db",
            "postgre://user@host/db",
            "postgresql://host/d?nonsense=1",
            "postgresql://host:port/d",
            "postgresql://host:99999/d",
            "host=h port=1x",
            "postgresql://h\0/d",
            "postgresql://%zz@h/d",
            "\ud800",
            None,
            5,
        ],
    )
    def test_garbage_is_refused(self, garbage: str) -> None:
        with pytest.raises(InvalidOptionError, match="dsn"):
            normalize(garbage)

    @given(st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            normal = normalize(text)
        except InvalidOptionError:
            return
        assert normalize(normal) == normal


class TestSecrets:
    @pytest.mark.parametrize(
        "dsn",
        [
            "postgresql://u:hunter2@h/d",
            "postgresql://u:hunter2@h:port/d",
            "postgresql://u:hun/hunter2@h/d",
            "postgre://u:hunter2@h/d",
            "postgresql://u:hunter2@h/d?nonsense=1",
            "postgresql://h/d?password=hunter2",
            "postgresql://h/d?sslpassword=hunter2",
            "host=h password=hunter2",
            "host=h password = 'x hunter2' nonsense",
            "password=hunter2 nonsense",
        ],
    )
    def test_a_password_is_neither_shown_nor_part_of_an_error(self, dsn: str) -> None:
        assert "hunter2" not in redacted(dsn)
        assert "hunter2" not in complaint_about(dsn)

    def test_the_rest_is_shown(self) -> None:
        assert redacted("postgresql://u:hunter2@h:1/d") == "postgresql://u@h:1/d"
        assert redacted("nonsense") == "nonsense"


class TestForAsyncpg:
    def test_a_connect_timeout_becomes_an_argument(self) -> None:
        arguments = for_asyncpg("postgresql://h/d?connect_timeout=3&application_name=x")

        assert arguments == {"dsn": "postgresql://h/d?application_name=x", "timeout": 3.0}

    @pytest.mark.parametrize("timeout", ["0", ""])
    def test_no_timeout_is_none(self, timeout: str) -> None:
        assert "timeout" not in for_asyncpg(f"postgresql://h/d?connect_timeout={timeout}")

    @pytest.mark.parametrize(
        "option", ["keepalives=1", "channel_binding=require", "gssencmode=require"]
    )
    def test_what_asyncpg_cannot_honor_is_refused_by_name(self, option: str) -> None:
        with pytest.raises(InvalidOptionError, match=option.partition("=")[0]):
            for_asyncpg(f"postgresql://u:hunter2@h/d?{option}")

    def test_a_preference_that_it_meets_anyway_is_left_out(self) -> None:
        assert for_asyncpg("postgresql://h?channel_binding=prefer") == {"dsn": "postgresql://h"}

    def test_a_timeout_that_is_no_number_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="connect_timeout"):
            for_asyncpg("postgresql://h/d?connect_timeout=soon")


class TestConnecting:
    async def test_every_driver_reaches_the_same_database(self, dsn: str) -> None:
        connection = await asyncpg.connect(**for_asyncpg(dsn))
        by_asyncpg = await connection.fetchval("SELECT current_database()")
        await connection.close()
        with psycopg.connect(normalize(dsn)) as by_libpq:
            row = by_libpq.execute("SELECT current_database()").fetchone()
        with create_engine(for_sqlalchemy(dsn), poolclass=NullPool).connect() as by_sqlalchemy:
            found = by_sqlalchemy.exec_driver_sql("SELECT current_database()").scalar()

        assert row is not None
        assert by_asyncpg == row[0] == found

    @pytest.mark.parametrize("path", ['"a b"', '"a\\b", "c\'d"', '"%"', "x,y"])
    async def test_a_search_path_survives_every_driver(self, dsn: str, path: str) -> None:
        target = with_search_path(dsn, path)

        connection = await asyncpg.connect(**for_asyncpg(target))
        by_asyncpg = await connection.fetchval("SHOW search_path")
        await connection.close()
        with psycopg.connect(target) as by_libpq:
            row = by_libpq.execute("SHOW search_path").fetchone()

        assert row == (path,)
        assert by_asyncpg == path

    def test_a_search_path_joins_options_that_are_there(self) -> None:
        target = with_search_path("postgresql://h/d?options=-c%20statement_timeout%3D5", "x")

        options = psycopg.conninfo.conninfo_to_dict(target)["options"]
        assert options == "-c statement_timeout=5 -c search_path=x"

    def test_another_database_of_the_same_server(self) -> None:
        assert with_database("postgresql://u:p@h/d?sslmode=require", "e/f") == (
            "postgresql://u:p@h/e%2Ff?sslmode=require"
        )
