"""
The definitions of an application, checked as a whole and looked up by name.

Everything that is wrong is told at once, each with its place and the line that mends it::

    sales/assets.py:14  asset 'sales.doubled': parameter 'numbers' has no source.
      There is an asset with that name. Did you mean
          numbers: list[int] = Dep(numbers)
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from flowstone.core.asset import Asset, AssetRef
from flowstone.core.checks import Checks
from flowstone.core.contracts.strategy import Strategy
from flowstone.core.dag import Dag
from flowstone.core.errors import (
    DefinitionError,
    DependencyCycleError,
    DuplicateAssetError,
    Problem,
    UnknownAssetError,
)
from flowstone.core.graph import Labels
from flowstone.core.job import AnyJob, Job, JobCall
from flowstone.core.pipeline import Pipeline
from flowstone.core.schedule import Schedule

_SHOWN = 50


def check(pipelines: Iterable[Pipeline], *, types: bool = False) -> list[Problem]:
    """
    Return everything that is wrong with the pipelines together; nothing when all is well.

    Args:
        types: Also compare what each edge's producer returns with what its consumer is annotated
            to get, where no type checker does.
    """
    return Checks(list(pipelines)).problems(types=types)


def build(
    pipelines: Iterable[Pipeline],
    *,
    resources: Container[type] | None = None,
    of_schedule: Callable[[Schedule], Iterable[str]] | None = None,
) -> "Definitions":
    """
    Return the definitions of an application.

    Args:
        resources: The types that it has a resource for; None leaves them unchecked.
        of_schedule: Says what is wrong with a schedule; None leaves them unchecked.

    Raises:
        DuplicateAssetError: Names are given twice, and nothing else is wrong.
        DependencyCycleError: There are circles, and nothing else is wrong.
        DefinitionError: Something is wrong; ``problems`` has all of it.
    """
    given = list(dict.fromkeys(pipelines))
    checks = Checks(given, resources=resources, of_schedule=of_schedule)
    problems = checks.problems(types=False)
    if not problems:
        return Definitions(given)
    if len(problems) == len(checks.circles):
        raise DependencyCycleError(checks.circles[0], problems=problems)
    shown = "\n".join(map(str, problems[:_SHOWN]))
    more = len(problems) - _SHOWN
    head = f"{len(problems)} problems in the definitions:\n" if len(problems) > 1 else ""
    tail = f"\nand {more} more" if more > 0 else ""
    kind = DuplicateAssetError if problems == checks.duplicates else DefinitionError
    raise kind(f"{head}{shown}{tail}", problems=problems)


class Definitions:
    """
    The pipelines of an application, already checked.

    Attributes:
        pipelines: By name.
        assets: By full name, in the order of definition.
        jobs: The same of the jobs below the assets.
        schedules: In the order of definition.
        aliases: Old full name → the name now.
        dag: The graph of all assets.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self.pipelines: Mapping[str, Pipeline] = {it.name: it for it in pipelines}
        self.assets: Mapping[str, Asset[..., object]] = MappingProxyType(
            {asset.full_name: asset for it in pipelines for asset in it.assets}
        )
        self.jobs: Mapping[str, AnyJob] = MappingProxyType(
            {job.full_name: job for it in pipelines for job in it.jobs}
        )
        self.schedules = tuple(it for pipeline in pipelines for it in pipeline.schedules)
        self._old_jobs = {alias: it for it in self.jobs.values() for alias in it.options.aliases}
        self.aliases: Mapping[str, str] = MappingProxyType(
            {alias: name for name, asset in self.assets.items() for alias in asset.options.aliases}
        )
        self.dag = Dag.of(self.assets.values())
        self._by_last_name: defaultdict[str, list[str]] = defaultdict(list)
        for name in (*self.assets, *self.aliases):
            self._by_last_name[name.rpartition(".")[2]].append(self.aliases.get(name, name))

    def __iter__(self) -> Iterator[Asset[..., object]]:
        return iter(self.assets.values())

    def __len__(self) -> int:
        return len(self.assets)

    def __contains__(self, name: object) -> bool:
        return name in self.assets or name in self.aliases

    @property
    def labels(self) -> Labels:
        """What edges of the graph are called, by the full names of their ends."""
        labels: dict[tuple[str, str], str] = {}
        for name, asset in self.assets.items():
            strategy = asset.strategy
            while isinstance(strategy, Strategy):
                said = strategy.labels(asset)
                labels |= {(upstream, name): label for upstream, label in said.items()}
                strategy = strategy.inner
        return labels

    def find(self, name: str) -> Asset[..., object] | None:
        """Return the asset of a full name, an old one included, or None."""
        return self.assets.get(self.aliases.get(name, name))

    def find_job(self, name: str) -> AnyJob | None:
        """Return the job of a full name, an old one included, or None."""
        return self.jobs.get(name) or self._old_jobs.get(name)

    @property
    def queues(self) -> list[str | None]:
        """The queues that assets and jobs name, each once; None is the default one."""
        bodies = [*self.assets.values(), *(job.body for job in self.jobs.values())]
        return list(dict.fromkeys(it.options.queue for it in bodies))

    def get(self, asset: AssetRef) -> Asset[..., object]:
        """
        Return the asset that is meant by itself, its full name, or its name alone.

        Raises:
            UnknownAssetError: There is none, or it belongs to a pipeline that was not given.
            DefinitionError: Several pipelines have an asset of that name, or it is no asset at all.
        """
        name = _name(asset)
        found = self.find(name)
        if found is not None:
            return found
        if isinstance(asset, Asset) and asset.pipeline not in self.pipelines:
            raise UnknownAssetError(name, self.assets, pipeline=asset.pipeline)
        candidates = list(dict.fromkeys(self._by_last_name.get(name, ())))
        if len(candidates) > 1:
            raise DefinitionError(
                f"'{name}' is the name of several assets; say which: {', '.join(candidates)}"
            )
        if not candidates and (job := self._job(name)) is not None:
            raise DefinitionError(_no_asset(job))
        if not candidates:
            raise UnknownAssetError(name, self.assets)
        return self.assets[candidates[0]]

    def _job(self, name: str) -> AnyJob | None:
        """Return the job that a name is probably meant for, when no asset has it."""
        named = [it for it in self.jobs.values() if name in (it.name, it.full_name)]
        return named[0] if len(named) == 1 else None


def _name(asset: object) -> str:
    if isinstance(asset, Asset):
        return asset.full_name
    if isinstance(asset, str):
        return asset
    raise DefinitionError(_no_asset(asset))


def _no_asset(given: object) -> str:
    """Say what was given where an asset is wanted, and what to give."""
    if isinstance(given, JobCall):
        return f"{given} is a job's call, and no asset: app.enqueue({given})"
    if isinstance(given, Job):
        return f"'{given.full_name}' is a job, and no asset: app.enqueue({given.name}.with_(...))"
    if isinstance(given, Pipeline):
        return f"'{given.name}' is a pipeline, and no asset: give a list of them, its .assets"
    if inspect.iscoroutine(given):
        given.close()
        return f"'{given.__name__}' was called, and gives no asset: leave the () out"
    shown = getattr(given, "__name__", repr(given))
    return f"'{shown}' is no asset; is @pipeline.asset missing?"
