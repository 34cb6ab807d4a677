"""
Where a parameter gets its value from: what a marker in a signature has to say.

`Dep` makes one kind of source. A plugin makes another by subclassing `Source`: it names the edges
that the asset gets, and turns what came over them into one argument. A ``Branch(asset)``, which
gives an outcome instead of a value, or a ``FirstOf(a, b)`` needs nothing else from the core.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Edge(NamedTuple):
    """
    One upstream asset of a source.

    Attributes:
        upstream: The asset's full name; a name without a dot is one of the same pipeline.
        optional: Whether the asset runs although the upstream ended without a value. When a
            required upstream fails or is skipped, so is what needs it. When an optional one that is
            ``awaited`` fails, or whatever only that needs, the run does not fail by it.
        awaited: Whether the asset begins first and waits itself, with `Waiting.until`, for the
            upstream, which is held until then with all that only it needs. Its `Strategy` says
            what a failure means.
    """

    upstream: str
    optional: bool = False
    awaited: bool = False


class Upstream(NamedTuple):
    """
    What came over an edge.

    Attributes:
        asset: The upstream's full name.
        value: Its value, decoded as `Source.decoded_as` said; None when there is none.
        status: How it ended, a value of `flowstone.core.status.Status`; see `Source.asks_why`.
        error: Why it has no value, as rows keep it, as far as that is known.
    """

    asset: str
    value: object = None
    status: str = "succeeded"
    error: object = None

    @property
    def has_value(self) -> bool:
        """Whether the upstream succeeded; its value may be None nevertheless."""
        return self.status == "succeeded"


class Source(ABC):
    """
    A marker: the default of a parameter, or in its ``Annotated[T, marker]``.

    One instance is shared by every execution, so it keeps no state of its own.
    """

    needs: ClassVar[str | None] = None
    """The decorator that an asset with such a parameter has to have, as it is written."""

    @abstractmethod
    def edges(self) -> Sequence[Edge]:
        """Return the upstream assets, always the same and in the same order."""

    @abstractmethod
    def resolve(self, upstreams: Sequence[Upstream]) -> object:
        """
        Return the argument.

        May return a `flowstone.core.results.Skip` or a ``Cancel``: the asset is then skipped, or
        cancelled, without being called.

        Args:
            upstreams: One for each of `edges`, in that order. Those of required edges have a value.
        """

    def asks_why(self, upstreams: Sequence[Upstream]) -> bool:
        """
        Return whether `resolve` wants to know how those without a value ended.

        That is looked up then; otherwise all of them are said to have failed.
        """
        return False

    def decoded_as(self, annotation: object) -> object:
        """
        Return the type that the upstreams' values are decoded to.

        Args:
            annotation: The parameter's resolved annotation; ``object`` when it has none.
        """
        return annotation

    def objection(self, annotation: object) -> str | None:
        """Say what is wrong with the parameter's annotation for this source, or None."""
        return None


@dataclass(frozen=True, slots=True)
class ResourceMarker:
    """What `Requires` leaves in a signature: the type that the resource is known by."""

    type: type
