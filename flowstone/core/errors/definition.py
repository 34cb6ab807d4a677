"""Errors of what was written: pipelines, partitions, options."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowstone.core.errors.root import FlowStoneError, unknown
from flowstone.core.suggestion import suggest


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing wrong in a definition.

    Attributes:
        where: ``file:line``, as far as it is known.
        asset: The asset's full name, when the problem is one asset's.
        job: The job's, when it is one job's.
        schedule: The schedule's, when it is one schedule's.
        message: What is wrong.
        fix: The line to write instead.
    """

    message: str
    where: str | None = None
    asset: str | None = None
    fix: str | None = None
    job: str | None = None
    schedule: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}  " if self.where else ""
        subject = f"asset '{self.asset}': " if self.asset else ""
        subject = f"job '{self.job}': " if self.job else subject
        subject = f"schedule '{self.schedule}': " if self.schedule else subject
        fix = "".join(f"\n      {line}" for line in self.fix.splitlines()) if self.fix else ""
        return f"{place}{subject}{self.message}{fix}"


class DefinitionError(FlowStoneError):
    """
    A definition is wrong.

    Attributes:
        problems: Everything that is wrong, when it was found by checking a whole.
    """

    code = "definition_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        problems: Iterable[Problem] = (),
        context: Mapping[str, object] | None = None,
    ) -> None:
        self.problems = tuple(problems)
        if message is None and self.problems:
            message = "\n".join(map(str, self.problems))
        super().__init__(message, context=context)


class DuplicateAssetError(DefinitionError):
    """Two assets have the same name."""

    code = "duplicate_asset"


class UnknownAssetError(DefinitionError):
    """
    There is no such asset.

    Attributes:
        name: What was asked for.
        available: The names that there are.
        suggestion: The one that was probably meant, or None.
        pipeline: Of an asset that there is: its pipeline, which the application was not given.
    """

    code = "asset_not_found"

    def __init__(
        self, name: str, available: Iterable[str] = (), *, pipeline: str | None = None
    ) -> None:
        self.name = name
        self.available = tuple(sorted(available))
        self.pipeline = pipeline
        self.suggestion = suggest(name, self.available) if pipeline is None else None
        super().__init__(
            unknown(f"asset '{name}' does not exist", self.available, self.suggestion)
            if pipeline is None
            else f"asset '{name}': the application has no pipeline '{pipeline}'. Add it: "
            f"FlowStone([..., {pipeline}])",
            context={
                "name": name,
                "available": list(self.available),
                "suggestion": self.suggestion,
            },
        )


class DependencyCycleError(DefinitionError):
    """
    Assets depend on each other in a circle.

    Attributes:
        cycle: The names along the circle, each depending on the next; the first is also the last.
    """

    code = "dependency_cycle"

    def __init__(self, cycle: Sequence[str], *, problems: Sequence[Problem] = ()) -> None:
        self.cycle = tuple(cycle)
        first, *others = problems or [Problem("")]
        place = f"  ({first.where})" if first.where else ""
        shown = f"assets depend on each other in a circle: {' → '.join(self.cycle)}{place}"
        super().__init__(
            "\n".join([shown, *map(str, others)]),
            problems=problems,
            context={"cycle": list(self.cycle)},
        )


class InvalidPartitionError(DefinitionError):
    """A partition is not one that can be encoded or decoded."""

    code = "invalid_partition"


class InvalidOptionError(DefinitionError):
    """An option has a value that it cannot have."""

    code = "invalid_option"
