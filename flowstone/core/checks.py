"""What can be wrong with definitions, and the line to write instead."""

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from flowstone.core.annotations import type_text
from flowstone.core.asset import Asset
from flowstone.core.config import field_objections
from flowstone.core.contracts.strategy import Strategy
from flowstone.core.dag import EdgeKind, awaited_circles, cycles, edges_of
from flowstone.core.errors import DefinitionError, Problem
from flowstone.core.options import name_objection
from flowstone.core.parameters import Missing
from flowstone.core.pipeline import Pipeline
from flowstone.core.processes.place import place_of
from flowstone.core.schedule import Schedule
from flowstone.core.signature import Signature
from flowstone.core.suggestion import suggest
from flowstone.core.type_fit import fits
from flowstone.core.unique_key import OnConflict

_SUGGESTIONS = 25
"""Comparing a name with twenty thousand others takes a second; after so many nobody reads them."""

AnyAsset = Asset[..., object]


class Checks:
    """
    Everything that is wrong with some pipelines.

    Args:
        resources: The types that the application has a resource for; None is not known.
        of_schedule: Says what is wrong with a schedule; None leaves them unchecked.

    Attributes:
        duplicates: Those of the problems that are names given twice.
        circles: The circles that were found, each beginning and ending with the same name.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        *,
        resources: Container[type] | None = None,
        of_schedule: Callable[[Schedule], Iterable[str]] | None = None,
    ) -> None:
        self.duplicates: list[Problem] = []
        self.circles: list[tuple[str, ...]] = []
        self._pipelines = pipelines
        self._resources = resources
        self._of_schedule = of_schedule
        self._assets = [asset for pipeline in pipelines for asset in pipeline.assets]
        self._by_name: dict[str, AnyAsset] = {}
        for asset in self._assets:
            self._by_name.setdefault(asset.full_name, asset)
        self._edges: Mapping[str, Mapping[str, EdgeKind]] = {
            name: edges_of(asset) for name, asset in self._by_name.items()
        }
        self._dependents: defaultdict[str, list[AnyAsset]] = defaultdict(list)
        for name, upstreams in self._edges.items():
            for upstream in upstreams:
                self._dependents[upstream].append(self._by_name[name])
        self._old_names = _old_names(self._assets)
        self._suggestions_left = _SUGGESTIONS

    def problems(self, *, types: bool) -> list[Problem]:
        """Return the problems in the order of definition, circles last."""
        found = list(self._of_pipelines())
        for asset in self._assets:
            found += self._of_asset(asset)
            if types:
                found += self._of_types(asset)
        found += self._of_jobs()
        found += self._of_schedules()
        found += self._circles()
        return found

    def _of_pipelines(self) -> Iterator[Problem]:
        known: dict[str, Pipeline] = {}
        for pipeline in self._pipelines:
            first = known.setdefault(pipeline.name, pipeline)
            if first is not pipeline:
                yield Problem(
                    f"there are two pipelines '{pipeline.name}'; the other is at {first.source}",
                    where=str(pipeline.source),
                )

    def _of_asset(self, asset: AnyAsset) -> Iterator[Problem]:
        first = self._by_name[asset.full_name]
        if first is not asset:
            twin = _problem(asset, f"there is another asset of that name at {first.source}")
            self.duplicates.append(twin)
            yield twin
        yield from _of_aliases(asset, self._by_name, self._old_names)
        yield from (_problem(asset, objection) for objection in asset.objections)
        yield from self._of_strategy(asset)
        signatures = [asset.signature, *asset.phase_signatures.values()]
        for signature in signatures:
            where = f"in its {signature.phase} function: " if signature.phase else ""
            for objection in signature.objections:
                yield _problem(asset, where + objection)
            for missing in signature.missing:
                yield self._without_source(asset, missing, where)
        yield from self._of_configs(asset, signatures)
        yield from self._of_executor(asset)
        yield from self._of_resources(asset)
        if first is asset:
            yield from self._unknown_upstreams(asset)

    def _of_strategy(self, asset: AnyAsset) -> Iterator[Problem]:
        strategy = asset.strategy
        if strategy is not None and not isinstance(strategy, Strategy):
            kind = type(strategy).__qualname__
            yield _problem(asset, f"its strategy is a {kind}, which is no Strategy")
            return
        awaits_edges = False
        while strategy is not None:
            awaits_edges = awaits_edges or strategy.awaits_edges
            yield from strategy.problems(asset, self._by_name, self._dependents[asset.full_name])
            strategy = strategy.inner
        if not awaits_edges:
            yield from self._of_awaited(asset)

    def _of_awaited(self, asset: AnyAsset) -> Iterator[Problem]:
        for signature in (asset.signature, *asset.phase_signatures.values()):
            for name, source, inputs, _ in signature.arguments:
                if any(it.awaited for it in inputs):
                    message = f"parameter '{name}' = {source}: nothing here waits for it."
                    message += " Below @pipeline.asset, write"
                    yield _problem(asset, message, source.needs)

    def _of_jobs(self) -> Iterator[Problem]:
        bodies = [job.body for pipeline in self._pipelines for job in pipeline.jobs]
        old_names = _old_names(bodies)
        by_name = dict(self._by_name)
        for body in bodies:
            by_name.setdefault(body.full_name, body)
        for body in bodies:
            first = by_name[body.full_name]
            if first is not body:
                told = f"there is another {_kind(first)} of that name at {first.source}"
                twin = _problem(body, told)
                self.duplicates.append(twin)
                yield twin
            yield from _of_aliases(body, by_name, old_names)
            yield from (_problem(body, objection) for objection in body.objections)
            if body.strategy is not None or body.phases:
                yield _problem(body, "a job is a plain function; decorators are for assets")
            yield from (_problem(body, objection) for objection in body.signature.objections)
            yield from self._of_unique(body)
            yield from self._of_lane(body)
            yield from self._of_executor(body)
            yield from self._of_resources(body)

    def _of_unique(self, body: AnyAsset) -> Iterator[Problem]:
        unique = body.options.unique
        known = [it.parameter for it in body.signature.own_arguments]
        for name in (unique and unique.by) or ():
            if name not in known:
                meant = self._suggest(name, known)
                question = f" Did you mean '{meant}'?" if meant else ""
                takes = ", ".join(known) or "none"
                message = (
                    f"unique by '{name}', which is no argument of it.{question} It takes: {takes}"
                )
                yield _problem(body, message)

    def _of_lane(self, body: AnyAsset) -> Iterator[Problem]:
        lane, unique = body.options.lane, body.options.unique
        known = [it.parameter for it in body.signature.own_arguments]
        if lane is not None and lane not in known:
            takes = ", ".join(known) or "none"
            yield _problem(body, f"lane='{lane}' is no argument of it. It takes: {takes}")
        if lane is not None and unique is not None and unique.on_conflict is OnConflict.REPLACE:
            yield _problem(
                body,
                "a job in a lane keeps its place: leave lane= out, or let Unique(on_conflict=…) be "
                '"existing" or "raise"',
            )

    def _of_schedules(self) -> Iterator[Problem]:
        jobs = [job for pipeline in self._pipelines for job in pipeline.jobs]
        known: dict[str, Schedule] = {}
        for schedule in (it for pipeline in self._pipelines for it in pipeline.schedules):
            wrong = [] if self._of_schedule is None else [*self._of_schedule(schedule)]
            first = known.setdefault(schedule.full_name, schedule)
            if first is not schedule:
                wrong.append(f"there is another schedule of that name at {first.source}")
            if not any(schedule.call.job is job for job in jobs):
                name = schedule.call.job.full_name
                wrong.append(f"it enqueues '{name}', a job of no pipeline of the application")
            for message in wrong:
                where = str(schedule.source)
                yield Problem(message, where=where, schedule=schedule.full_name)

    def _of_configs(self, asset: AnyAsset, signatures: Iterable[Signature]) -> Iterator[Problem]:
        kinds = {it.config_type: None for it in signatures if it.config_type is not None}
        for kind in kinds:
            for objection in field_objections(kind):
                yield _problem(asset, f"config {kind.__qualname__}: {objection}")
        if len(kinds) > 1:
            names = ", ".join(kind.__qualname__ for kind in kinds)
            yield _problem(asset, f"its functions want different configurations: {names}")

    def _of_executor(self, asset: AnyAsset) -> Iterator[Problem]:
        wanted = asset.options.executor
        if wanted is None:
            return
        says = f'executor="{wanted}"'
        if asset.is_async:
            message = f"{says} is for plain functions; an async one runs on the event loop. Write"
            yield _problem(asset, message, f"def {asset.name}(...): ...")
        if wanted != "process":
            return
        for requirement in asset.signature.requirements:
            name, kind = requirement.parameter, requirement.type.__qualname__
            message = f"{says}: resources stay with the worker, '{name}' cannot reach the process."
            message += f" Make the {kind} in the function, or leave it in a thread"
            yield _problem(asset, message, f"@{asset.pipeline}.{_kind(asset)}")
        try:
            place_of(asset)
        except DefinitionError as error:
            message = f"{says}: a child process cannot find it: {error}.\n  Put it at the top of a "
            message += "module, with the decorator above it"
            line = f"@{asset.pipeline}.{_kind(asset)}({says})\ndef {asset.name}(...): ..."
            yield _problem(asset, message, line)

    def _of_resources(self, asset: AnyAsset) -> Iterator[Problem]:
        if self._resources is None or asset.options.executor == "process":
            return
        for name, kind, phase in asset.requirements:
            if kind not in self._resources:
                where = f"in its {phase} function: " if phase else ""
                message = f"{where}parameter '{name}' requires a resource, and there is none. Add"
                fix = f"FlowStone(..., resources={{{kind.__qualname__}: ...}})"
                yield _problem(asset, message, fix)

    def _unknown_upstreams(self, asset: AnyAsset) -> Iterator[Problem]:
        for name, kind in self._edges[asset.full_name].items():
            if name in self._by_name:
                continue
            wanted = f"after '{name}'" if kind is EdgeKind.ORDER else f"depends on '{name}'"
            if kind.is_awaited:
                by = next(it.parameter for it in asset.inputs if it.upstream == name)
                wanted = f"awaits '{name}' for its parameter '{by}'"
            pipeline = name.partition(".")[0]
            if name in self._old_names:
                now = self._old_names[name]
                yield _problem(asset, f"{wanted}, which is called '{now}' now")
                continue
            meant = self._suggest(name, self._by_name)
            question = f" Did you mean '{meant}'?" if meant else ""
            if any(it.name == pipeline for it in self._pipelines):
                yield _problem(asset, f"{wanted}, which does not exist.{question}")
            else:
                unknown = f"{wanted}, but the application has no pipeline '{pipeline}'.{question}"
                yield _problem(asset, f"{unknown} Add it", f"FlowStone([..., {pipeline}])")

    def _without_source(self, asset: AnyAsset, missing: Missing, where: str) -> Problem:
        name, kind = missing.parameter, missing.annotation
        message = f"{where}parameter '{name}' has no source."
        namesake = self._namesake(asset, name)
        if namesake is not None and (namesake.name == name or missing.default is None):
            wanted = kind or type_text(namesake.value_type)
            there = "with that name" if namesake.name == name else f"'{namesake.full_name}'"
            message += f"\n  There is an asset {there}. Did you mean"
            return _problem(asset, message, f"{name}: {wanted} = Dep({namesake.name})")
        if name in ("ctx", "context"):
            return _problem(asset, f"{message} Did you mean", f"{name}: Context")
        if missing.default is not None:
            message += f"\n  Nothing would ever replace {missing.default}. A run can, in a Config:"
            config = f"{_camel(asset.name)}Config"
            field = f"    {name}: {kind or '...'} = {missing.default}"
            return _problem(asset, message, f"class {config}(Config):\n{field}")
        if name in ("config", "cfg", "settings"):
            return _problem(asset, f"{message} Did you mean", f"{name}: {_camel(asset.name)}Config")
        message += "\n  Say where it comes from, another asset or a resource:"
        lines = [f"{name}: {kind or '...'} = Dep(...)", f"{name}: {kind or '...'} = Requires(...)"]
        return _problem(asset, message, "\n".join(lines))

    def _namesake(self, asset: AnyAsset, parameter: str) -> AnyAsset | None:
        """Return the asset that a parameter was probably meant to receive."""
        own = self._by_name.get(f"{asset.pipeline}.{parameter}")
        if own is not None and own is not asset:
            return own
        others = [it for it in self._assets if it.name == parameter and it is not asset]
        if len(others) == 1:
            return others[0]
        siblings = {it.name: it for it in self._assets if it.pipeline == asset.pipeline}
        siblings.pop(asset.name, None)
        meant = self._suggest(parameter, siblings)
        return siblings[meant] if meant else None

    def _suggest(self, name: str, known: Iterable[str]) -> str | None:
        if not self._suggestions_left:
            return None
        self._suggestions_left -= 1
        return suggest(name, known)

    def _of_types(self, asset: AnyAsset) -> Iterator[Problem]:
        for signature in (asset.signature, *asset.phase_signatures.values()):
            for argument in signature.arguments:
                for wanted in argument.inputs:
                    producer = self._by_name.get(wanted.upstream)
                    if producer and not fits(producer.value_type, wanted.annotation):
                        yield _problem(
                            asset,
                            f"{argument.source} gives {type_text(producer.value_type)}, "
                            f"parameter '{wanted.parameter}' wants {type_text(wanted.annotation)}.",
                        )

    def _circles(self) -> Iterator[Problem]:
        self.circles = cycles(self._edges)
        for asset in self._by_name.values():
            self.circles += awaited_circles(asset)
        for circle in self.circles:
            first = self._by_name[circle[0]]
            yield _problem(first, f"depends on itself: {' → '.join(circle)}")


def _problem(asset: AnyAsset, message: str, fix: str | None = None) -> Problem:
    where = str(asset.source)
    if asset.takes_arguments:
        return Problem(message, where=where, job=asset.full_name, fix=fix)
    return Problem(message, where=where, asset=asset.full_name, fix=fix)


def _kind(asset: AnyAsset) -> str:
    return "job" if asset.takes_arguments else "asset"


def _old_names(assets: Iterable[AnyAsset]) -> Mapping[str, str]:
    return {alias: asset.full_name for asset in assets for alias in asset.options.aliases}


def _of_aliases(
    asset: AnyAsset, by_name: Mapping[str, AnyAsset], old_names: Mapping[str, str]
) -> Iterator[Problem]:
    for alias in asset.options.aliases:
        pipeline, _, name = alias.rpartition(".")
        of_what = "a job" if asset.takes_arguments else "an asset"
        wrong = name_objection("a pipeline", pipeline) or name_objection(of_what, name)
        if wrong:
            yield _problem(asset, f"alias '{alias}': {wrong}")
        elif other := by_name.get(alias):
            told = f"alias '{alias}' is the name of the {_kind(other)} at {other.source}"
            yield _problem(asset, told)
        elif old_names[alias] != asset.full_name:
            yield _problem(asset, f"alias '{alias}' is also an alias of '{old_names[alias]}'")


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split("_+", name))
