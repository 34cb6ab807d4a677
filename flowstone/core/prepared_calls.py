"""What is special about one of many calls of a function, which `Execution.prepare` has prepared."""

from contextlib import AbstractAsyncContextManager

from flowstone.core.errors import TransactionError


async def given(value: object, **_: object) -> object:
    """Be the function of an asset whose inputs say already what it returns."""
    return value


def refuse_transaction(driver: str) -> AbstractAsyncContextManager[object]:
    """
    Give no connection: many calls are settled together.

    Raises:
        TransactionError: Always.
    """
    raise TransactionError(
        "this is one of many calls that are settled together",
        f"open a connection of your own ({driver}), and write what may be repeated",
    )
