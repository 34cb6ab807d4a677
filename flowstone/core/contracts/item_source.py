"""What a function of items returns to say that a reader has them: ``reader("documents", …)``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.errors import InvalidOptionError

I_co = TypeVar("I_co", covariant=True)

# Any: the state is the reader's own business.
AnyReader: TypeAlias = ItemReader[Any]

ReaderEntry: TypeAlias = (
    AnyReader | type[AnyReader] | tuple[AnyReader | type[AnyReader], Mapping[str, object]]
)
"""What ``readers=`` of an application maps a name to."""


@dataclass(frozen=True, slots=True)
class ItemSource(Generic[I_co]):
    """
    A reader, and what it is to read; made by `reader`.

    Attributes:
        reader: Its registered name, its class, or the reader itself.
        config: What is laid over its registered configuration.
    """

    reader: str | AnyReader | type[AnyReader]
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What messages and events call the reader."""
        if isinstance(self.reader, str):
            return self.reader
        kind = self.reader if isinstance(self.reader, type) else type(self.reader)
        return kind.__qualname__


# Any: what items a reader gives is known when it is configured, not when it is named.
def reader(of: str | AnyReader | type[AnyReader], /, **config: object) -> ItemSource[Any]:
    """
    Name the reader that has the items, in a function that items are taken from.

    ::

        def docs(day: Day = Dep(day)) -> ItemSource[Doc]:
            return reader("documents", prefix=f"{day.number}/", max_items=10_000)

    Args:
        of: A name that the application or a plugin has registered, or a reader or its class.
        config: What the reader takes, laid over what is registered with the name. Every reader
            takes ``page_size``, the most items of a page; ``max_items`` and ``max_batches``, the
            most items and pages that are read in all, restarts included. A function without
            arguments, or of the inputs by name, is called for its value when reading begins; an
            ``Env("NAME")`` is looked up then.

    Raises:
        InvalidOptionError: ``of`` is none of these.
    """
    is_class = isinstance(of, type) and issubclass(of, ItemReader)
    if not (isinstance(of, str) and of) and not isinstance(of, ItemReader) and not is_class:
        raise InvalidOptionError(
            f'reader({of!r}) must be a registered name, or an ItemReader: reader("documents")'
        )
    return ItemSource(of, MappingProxyType(dict(config)))
