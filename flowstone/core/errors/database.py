"""Errors of the database: not connected, refusing, lost, or with a schema that is not ours."""

from collections.abc import Mapping

from flowstone.core.errors.root import FlowStoneError

RETRYABLE_CLASSES = ("08", "40", "53", "57P")
"""Connection, rolled back for others' sake, out of resources, shut down by an operator."""

CUT_SHORT = ("55P03", "57014")
"""A lock was held for longer than ``lock_timeout``; or a statement was cancelled, or too slow."""


class NotOpenError(FlowStoneError):
    """The application is not open; write: async with app: ..."""

    code = "not_open"


class TransactionError(FlowStoneError):
    """
    ``ctx.transaction()`` cannot be had, or cannot commit; nothing of it was written.

    Attributes:
        why: What is in the way.
        advice: What to do about it.
    """

    code = "transaction_error"

    def __init__(self, why: str, advice: str) -> None:
        self.why = why
        self.advice = advice
        super().__init__(
            f"ctx.transaction(): {why}; {advice}", context={"why": why, "advice": advice}
        )


class DatabaseError(FlowStoneError):
    """
    The database refused a statement or was lost.

    Attributes:
        sqlstate: Its five-character code; None when there was no answer at all.
    """

    code = "database_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        sqlstate: str | None = None,
        retryable: bool | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        self.sqlstate = sqlstate
        if retryable is None and sqlstate is not None:
            retryable = sqlstate.startswith(RETRYABLE_CLASSES)
        super().__init__(
            message, retryable=retryable, context={"sqlstate": sqlstate, **(context or {})}
        )

    @property
    def may_pass(self) -> bool:
        """
        All that is retryable, and what was cut short.

        The latter is not retryable as it stands: of a batch that takes too long, a part may pass.
        """
        return self.retryable or self.sqlstate in CUT_SHORT

    @property
    def is_about_data(self) -> bool:
        """Whether the same data will be refused again: its form, a constraint, or its size."""
        return (self.sqlstate or "").startswith(("22", "23", "54"))


class DatabaseUnreachableError(DatabaseError):
    """The database cannot be reached."""

    code = "database_unreachable"
    retryable = True


class SchemaError(DatabaseError):
    """The database's schema is not the one that this code needs."""

    code = "schema_error"


class SchemaVersionError(SchemaError):
    """
    The schema is missing, older or newer than the code; the message has the command to run.

    Attributes:
        found: The revision in the database; None when there is no schema.
        expected: The revision that the code was written for.
    """

    code = "schema_version"

    def __init__(
        self, message: str, *, found: str | None = None, expected: str | None = None
    ) -> None:
        self.found = found
        self.expected = expected
        super().__init__(message, context={"found": found, "expected": expected})


class SchemaFingerprintError(SchemaError):
    """procrastinate's part of the schema was changed in a way that this code does not know."""

    code = "schema_fingerprint"
