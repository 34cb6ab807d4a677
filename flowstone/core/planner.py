"""
What a run has to compute, what it can reuse, and why. ``app.plan`` and ``app.run`` share it, so
what the plan says is what the run does.

A stored value is fresh when it was not invalidated, was made by this version of the code (and
configuration), and from the current values of everything upstream. Whatever is not fresh runs, and
whatever is downstream of what runs, runs.

Source: docs/concepts.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from flowstone.core.asset import Asset
from flowstone.core.awaiting import hold
from flowstone.core.contracts.store import Current, Key, NewRun, PlannedStep, Reused
from flowstone.core.dag import Dag, EdgeKind
from flowstone.core.errors import DependencyNotReadyError
from flowstone.core.run_options import RunOptions, version_of

DEFAULT_QUEUE = "default"


class Action(StrEnum):
    """What a run does about one partition of an asset."""

    RUN = "run"
    REUSE = "reuse"
    SKIP = "skip"
    """It would be skipped, as it was the last time; nobody has to find that out."""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    One line of a plan.

    Attributes:
        reason: Why, for people.
        current: What is stored now, if anything is.
    """

    key: Key
    action: Action
    reason: str
    current: Current | None


class Foreseen(NamedTuple):
    """
    Something that would be skipped.

    Attributes:
        decided_by: By whose stored value; its full name.
        reason: Why, for people.
    """

    decided_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """
    What somebody asks for.

    Attributes:
        targets: Full names, upstreams before downstreams not required.
        partitions: Encoded; each target is wanted for each.
        force: Compute the targets even if they are fresh.
        with_deps: Bring upstreams up to date first; otherwise they have to have a value.
    """

    targets: Sequence[str]
    partitions: Sequence[str]
    options: RunOptions
    force: bool = False
    with_deps: bool = True


class Planner:
    """
    Plans requests over one set of definitions.

    Args:
        assets: By full name.
        dag: Their graph.
    """

    def __init__(self, assets: Mapping[str, Asset[..., object]], dag: Dag) -> None:
        self._assets = assets
        self._dag = dag
        self._place = {name: place for place, name in enumerate(dag.order)}
        self._holds = any(
            kind.is_awaited for edges in dag.upstream.values() for kind in edges.values()
        )

    def keys(self, request: Request) -> list[Key]:
        """Return what has to be looked up: targets and, by `aliases`, their former names."""
        names = self._names(request)
        if not request.with_deps:
            names = [*self._upstreams(request), *names]
        return [
            Key(name, partition)
            for partition in request.partitions
            for known in dict.fromkeys(names)
            for name in (known, *self._assets[known].options.aliases)
        ]

    def decide(
        self,
        request: Request,
        found: Mapping[Key, Current],
        holders: Mapping[str, str | None],
        foreseen: Mapping[Key, Foreseen] | None = None,
    ) -> list[Decision]:
        """
        Return one decision for each asset and partition, upstreams first.

        Args:
            found: What `keys` have stored.
            holders: By full name, what rows call where its value is to be; see `Values.holder`.
            foreseen: What would be skipped where what it is decided by is reused.

        Raises:
            DependencyNotReadyError: Without ``with_deps``, an upstream has no value.
        """
        names = self._names(request)
        targets = set(request.targets)
        needed = self._needed(request) if foreseen and request.force else set()
        decisions: list[Decision] = []
        for partition in request.partitions:
            stored = self._stored(found, partition, {*names, *self._upstreams(request)})
            if not request.with_deps:
                self._require_upstreams(request, stored, partition)
                decisions += self._taken(request, stored, partition)
            running: set[str] = set()
            left_out: set[str] = set()
            for name in names:
                key = Key(name, partition)
                skip = self._skip(key, needed, left_out, running, foreseen) if foreseen else None
                if skip is not None:
                    left_out.add(name)
                    stored.pop(name, None)  # of an earlier time, when it was not skipped
                    decisions.append(Decision(key, Action.SKIP, skip, None))
                    continue
                current = stored.get(name)
                reason = self._stale(request, name, current, stored, running, holders)
                if reason is None and request.force and name in targets:
                    reason = "forced"
                if reason is None:
                    assert current is not None
                    reason = f"materialized {_ago(current.materialized_at)}, code unchanged"
                    decisions.append(Decision(key, Action.REUSE, reason, current))
                else:
                    running.add(name)
                    decisions.append(Decision(key, Action.RUN, reason, current))
        return decisions

    def build(
        self,
        request: Request,
        decisions: Sequence[Decision],
        found: Mapping[Key, Current],
        ids: Sequence[int],
    ) -> NewRun:
        """Return the run that carries the decisions out; ``ids`` has one for each of its steps."""
        running = [(it.key, it.reason) for it in decisions if it.action is Action.RUN]
        steps: dict[Key, PlannedStep] = {}
        current = {it.key: it.current for it in decisions}
        left_out = {it.key for it in decisions if it.action is Action.SKIP}
        for (key, reason), id_ in zip(running, ids, strict=False):
            options = self._assets[key.asset].options
            step = PlannedStep(
                id_,
                key,
                request.options.queue or options.queue or DEFAULT_QUEUE,
                options.priority if request.options.priority is None else request.options.priority,
                reason,
            )
            for name, kind in self._dag.upstream[key.asset].items():
                upstream = Key(name, key.partition)
                if upstream not in left_out:
                    self._connect(step, upstream, kind, steps, current, found)
            steps[key] = step
        targets = [
            Key(name, partition) for partition in request.partitions for name in request.targets
        ]
        if self._holds:
            self._hold(steps, targets)
        return NewRun(
            targets=targets,
            steps=list(steps.values()),
            reused=[
                Reused(it.current.materialization_id, it.key, it.reason)
                for it in decisions
                if it.action is Action.REUSE and it.current is not None
            ],
            options=request.options.dump(),
        )

    def _names(self, request: Request) -> list[str]:
        wanted = {*request.targets}
        if request.with_deps:
            wanted.update(self._dag.ancestors(request.targets))
        return sorted(wanted, key=self._place.__getitem__)

    def _upstreams(self, request: Request) -> list[str]:
        """Return what the targets depend on directly; asked for only where nothing else is run."""
        if request.with_deps:
            return []
        return [name for target in request.targets for name in self._dag.upstream[target]]

    def _stored(
        self, found: Mapping[Key, Current], partition: str, names: Iterable[str]
    ) -> dict[str, Current]:
        if not found:
            return {}
        stored = {name: self._found(found, Key(name, partition)) for name in names}
        return {name: current for name, current in stored.items() if current is not None}

    def _found(self, found: Mapping[Key, Current], key: Key) -> Current | None:
        """Return what is stored under the asset's name, or else under a former one."""
        names = (key.asset, *self._assets[key.asset].options.aliases)
        return next(filter(None, (found.get(Key(name, key.partition)) for name in names)), None)

    def _needed(self, request: Request) -> set[str]:
        """Return the targets, and what they cannot do without: to be tried when it is forced."""
        needed = set(request.targets)
        waiting = list(needed)
        while waiting:
            for upstream, kind in self._dag.upstream[waiting.pop()].items():
                if kind is not EdgeKind.OPTIONAL and upstream not in needed:
                    needed.add(upstream)
                    waiting.append(upstream)
        return needed

    def _skip(
        self,
        key: Key,
        needed: set[str],
        left_out: set[str],
        running: set[str],
        foreseen: Mapping[Key, Foreseen],
    ) -> str | None:
        """Say why the asset would be skipped; None where that is not known, or it is forced."""
        if key.asset in needed:
            return None
        for upstream, kind in self._dag.upstream[key.asset].items():
            if kind is not EdgeKind.OPTIONAL and upstream in left_out:
                return f"upstream {upstream} is skipped"
        said = foreseen.get(key)
        return said.reason if said is not None and said.decided_by not in running else None

    def _stale(
        self,
        request: Request,
        name: str,
        current: Current | None,
        stored: Mapping[str, Current],
        running: set[str],
        holders: Mapping[str, str | None],
    ) -> str | None:
        """Say why the asset has to run, or None when its value is fresh."""
        if current is None:
            return "never materialized"
        if current.invalidated:
            return "invalidated"
        asset = self._assets[name]
        version = version_of(asset, request.options.of(name))
        if current.version != version:
            same_code = current.version.partition("+")[0] == version.partition("+")[0]
            return "configuration changed" if same_code else "code changed"
        if current.io != holders[name]:
            return f"kept in {current.io or 'the store'}, wanted in {holders[name] or 'the store'}"
        consumed = set(current.upstreams)
        for upstream in self._dag.upstream[name]:
            if upstream in running:
                return f"upstream {upstream} runs"
            newest = stored.get(upstream)
            if newest is None or newest.invalidated:  # no value to be made from
                continue
            if newest.materialization_id not in consumed:
                return f"upstream {upstream} is newer"
        return None

    def _require_upstreams(
        self, request: Request, stored: Mapping[str, Current], partition: str
    ) -> None:
        targets = set(request.targets)
        for target in request.targets:
            missing = [
                upstream
                for upstream, kind in self._dag.upstream[target].items()
                if kind in (EdgeKind.REQUIRED, EdgeKind.AWAITED)
                and upstream not in targets
                and (upstream not in stored or stored[upstream].invalidated)
            ]
            if missing:
                raise DependencyNotReadyError(missing, asset=target, partition=partition)

    def _taken(
        self, request: Request, stored: Mapping[str, Current], partition: str
    ) -> list[Decision]:
        """Return what a run takes without asking whether it is fresh; it holds on to it."""
        upstreams = dict.fromkeys(self._upstreams(request))
        return [
            Decision(Key(name, partition), Action.REUSE, "taken as it is", current)
            for name in sorted(upstreams, key=self._place.__getitem__)
            if name not in request.targets
            and (current := stored.get(name)) is not None
            and not current.invalidated
        ]

    def _connect(
        self,
        step: PlannedStep,
        upstream: Key,
        kind: EdgeKind,
        steps: Mapping[Key, PlannedStep],
        decided: Mapping[Key, Current | None],
        found: Mapping[Key, Current],
    ) -> None:
        before = steps.get(upstream)
        if before is None:
            current = decided.get(upstream) or self._found(found, upstream)
            if current is None or current.invalidated:
                return
            id_ = current.materialization_id
            if kind.is_awaited:
                step.add("awaits", id_)
        elif kind.is_awaited:
            step.add("awaits", before.id)
            before.add("awaited_by", step.id)
            return
        else:
            id_ = before.id
            step.unmet += 1
            optional = kind is EdgeKind.OPTIONAL
            before.add("optional_dependents" if optional else "dependents", step.id)
        step.add("follows" if kind is EdgeKind.ORDER else "inputs", id_)

    def _hold(self, steps: Mapping[Key, PlannedStep], targets: Sequence[Key]) -> None:
        """Hold what is to begin only when another step has."""
        optional = {
            (step.id, upstream.id)
            for key, step in steps.items()
            if step.awaits
            for name, kind in self._dag.upstream[key.asset].items()
            if kind is EdgeKind.AWAITED_OPTIONAL
            and (upstream := steps.get(Key(name, key.partition))) is not None
        }
        hold([*steps.values()], set(targets), optional)


def _ago(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"
