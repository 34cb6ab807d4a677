"""
One connection string, three drivers.

People write a URL (``postgresql://``, ``postgres://``, or SQLAlchemy's ``postgresql+asyncpg://``)
or libpq's ``host=… dbname=…``. libpq itself reads it, so what it would refuse is refused here; what
comes out is one spelling that libpq and asyncpg both understand, sockets included:
``postgresql://user:password@host:5432/database`` or ``postgresql://user@/database?host=/a/folder``.
"""

import re
from collections.abc import Mapping
from typing import NotRequired, TypedDict
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from flowstone.core.errors import InvalidOptionError

_DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")
_SECRETS = (
    re.compile(r"(?<=://)[^\s\"]*@"),
    re.compile(r"(?i)\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)"),
)

_EXPECTED = "dsn: expected such as postgresql://user@host/database"

# What asyncpg does itself; the server settings among them it passes on.
# fmt: off
_UNDERSTOOD_BY_ASYNCPG = {
    "host", "port", "dbname", "user", "password", "passfile", "service", "sslmode", "sslcert",
    "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs",
    "krbsrvname", "gsslib", "application_name", "client_encoding", "options",
}
# fmt: on


class AsyncpgArguments(TypedDict):
    """
    Keyword arguments for ``asyncpg.connect`` and ``asyncpg.create_pool``.

    Attributes:
        timeout: Seconds to wait for a connection; from the DSN's ``connect_timeout``.
    """

    dsn: str
    timeout: NotRequired[float]


def normalize(dsn: str) -> str:
    """
    Return the one spelling of a DSN; normalizing it again changes nothing.

    Raises:
        InvalidOptionError: libpq cannot read it; passwords are left out of the message.
    """
    return _url("postgresql", _parsed(dsn))


def for_asyncpg(dsn: str) -> AsyncpgArguments:
    """
    Return the arguments with which asyncpg connects: ``asyncpg.connect(**for_asyncpg(dsn))``.

    Raises:
        InvalidOptionError: As `normalize`; or the DSN asks for something that libpq can do and
            asyncpg cannot, and that would otherwise be left undone without a word.
    """
    parts = dict(_parsed(dsn))
    timeout = parts.pop("connect_timeout", None)
    if parts.get("channel_binding") in ("disable", "prefer"):
        del parts["channel_binding"]  # without it there is none, and both allow that
    beyond = sorted(parts.keys() - _UNDERSTOOD_BY_ASYNCPG)
    if beyond:
        raise InvalidOptionError(
            f"dsn: asyncpg, which workers use, cannot honor {', '.join(beyond)}; "
            f"leave it out of {redacted(dsn)}"
        )
    arguments = AsyncpgArguments(dsn=_url("postgresql", parts))
    if timeout is not None:
        if not timeout.isdecimal():
            raise InvalidOptionError(f"dsn: connect_timeout is no number of seconds: {timeout}")
        if int(timeout) > 0:
            arguments["timeout"] = float(timeout)
    return arguments


def for_sqlalchemy(dsn: str) -> str:
    """Return the URL with which SQLAlchemy connects, on psycopg."""
    return _url("postgresql+psycopg", _parsed(dsn))


def with_database(dsn: str, database: str) -> str:
    """Return the DSN of another database on the same server."""
    return _url("postgresql", {**_parsed(dsn), "dbname": database})


def with_search_path(dsn: str, path: str) -> str:
    """
    Return the DSN that makes a search_path the session's default, after options it has already.

    A PgBouncer refuses such options at start-up: this is for a direct connection.
    """
    parts = _parsed(dsn)
    escaped = re.sub(r"([\\\s])", r"\\\1", path)
    options = f"{parts.get('options', '')} -c search_path={escaped}".strip()
    return _url("postgresql", {**parts, "options": options})


def redacted(dsn: str) -> str:
    """Return the DSN for people to read: without passwords, and never an error."""
    try:
        parts = {name: value for name, value in _parsed(dsn).items() if "password" not in name}
    except InvalidOptionError:
        return _without_secrets(str(dsn))
    return _url("postgresql", parts)


def _parsed(dsn: str) -> Mapping[str, str]:
    if not isinstance(dsn, str) or not dsn.strip():
        raise InvalidOptionError(f"{_EXPECTED}; it is empty")
    if "\0" in dsn:
        raise InvalidOptionError("dsn: it contains a NUL character")
    try:
        parts = conninfo_to_dict(_DRIVER.sub(r"\1://", dsn.strip()))
    except (psycopg.Error, UnicodeError) as error:
        raise InvalidOptionError(f"{_EXPECTED}; {_without_secrets(str(error).strip())}") from None
    given = {name: str(value) for name, value in parts.items() if value}
    if "port" in given:
        given["port"] = _ports(given["port"], dsn)
    return given


def _ports(ports: str, dsn: str) -> str:
    """Check the numbers, one per host, and write out those left empty, which asyncpg would not."""
    numbers = [number or "5432" for number in ports.split(",")]
    if not all(number.isdecimal() and 0 < int(number) < 2**16 for number in numbers):
        raise InvalidOptionError(
            f"dsn: the port is no number from 1 to 65535 in {_without_secrets(dsn)}; "
            "special characters in a password are written as %40 for @, %2F for /"
        )
    return ",".join(numbers)


def _url(scheme: str, parts: Mapping[str, str]) -> str:
    """Write the parts as a URL; sockets, and several hosts, go into the query."""
    rest = dict(parts)
    user = quote(rest.pop("user", ""), safe="")
    password = quote(rest.pop("password", ""), safe="")
    database = quote(rest.pop("dbname", ""), safe="")
    host = rest.get("host", "")
    address = ""
    if host and not host.startswith("/") and "," not in host:
        del rest["host"]
        port = rest.pop("port", "")
        address = (f"[{host}]" if ":" in host else quote(host, safe="")) + (port and f":{port}")
    login = user + (password and f":{password}")
    query = urlencode(sorted(rest.items()), quote_via=quote, safe="/")
    path = database and f"/{database}"
    return f"{scheme}://{login and login + '@'}{address}{path}" + (query and f"?{query}")


def _without_secrets(text: str) -> str:
    url, keyword = _SECRETS
    return keyword.sub(r"\1***", url.sub("***@", text))
