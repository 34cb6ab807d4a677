"""A script that a child process imports must not begin its work there once more."""

from collections.abc import Iterator
from contextlib import contextmanager

from flowstone.core.errors import DefinitionError

_importing: list[str] = []


@contextmanager
def importing(script: str) -> Iterator[None]:
    """In a child: meanwhile, `refuse_in_import` does."""
    _importing.append(script)
    try:
        yield
    finally:
        _importing.pop()


def refuse_in_import() -> None:
    """
    Refuse to open an application while a script is imported by a child process.

    Raises:
        DefinitionError: It says what to write.
    """
    if _importing:
        raise DefinitionError(
            f"{_importing[-1]} begins its work when a child process imports it, to find an asset "
            'in it. Begin the work below\n\n    if __name__ == "__main__":'
        )
