"""
Random stories of a pipeline: what it is made of, what is asked of it, and what a simple model of
freshness says about it. The model knows numbers only: each computed value is a new one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from flowstone import Context, Dep, Pipeline, Skip

Kind = Literal["dep", "optional", "after"]
Fate = Literal["succeed", "fail", "skip"]


@dataclass(frozen=True)
class Shape:
    """An acyclic graph: for each asset, by number, its earlier upstreams."""

    upstream: Sequence[Mapping[int, Kind]]

    def ancestors(self, targets: Sequence[int]) -> list[int]:
        wanted = set(targets)
        for number in reversed(range(len(self.upstream))):
            if number in wanted:
                wanted.update(self.upstream[number])
        return sorted(wanted)


@dataclass(frozen=True)
class Ask:
    """A run that somebody asks for."""

    targets: Sequence[int]
    partition: str
    force: bool
    with_deps: bool


@dataclass(frozen=True)
class Invalidate:
    asset: int
    partition: str
    downstream: bool


@dataclass(frozen=True)
class Change:
    """Another version of the code."""

    asset: int


@dataclass(frozen=True)
class Destine:
    """What becomes of the asset whenever it is computed from now on."""

    asset: int
    fate: Fate


Step = Ask | Invalidate | Change | Destine


@st.composite
def stories(draw: st.DrawFn) -> tuple[Shape, list[Step]]:
    count = draw(st.integers(2, 6))
    kinds: st.SearchStrategy[Kind] = st.sampled_from(["dep", "dep", "optional", "after"])
    shape = Shape(
        [
            draw(st.dictionaries(st.integers(0, number - 1), kinds, min_size=1, max_size=3))
            if number
            else {}
            for number in range(count)
        ]
    )
    asset, partition = st.integers(0, count - 1), st.sampled_from("aaab")
    ask = st.builds(
        Ask,
        st.lists(asset, min_size=1, max_size=2, unique=True),
        partition,
        force=st.sampled_from([False, True]),
        with_deps=st.sampled_from([True, True, False]),
    )
    others = st.one_of(
        st.builds(Invalidate, asset, partition, st.booleans()),
        st.builds(Change, asset),
        st.builds(
            Destine, asset, st.sampled_from(["succeed", "succeed", "succeed", "fail", "skip"])
        ),
    )
    steps = draw(st.lists(st.tuples(ask, st.lists(others, max_size=2)), min_size=4, max_size=8))
    return shape, [step for asked, rest in steps for step in (asked, *rest)]


@dataclass
class Made:
    """A value: which it is, what it was made from, and what was there when it only came after."""

    number: int
    version: int
    saw: Mapping[int, int | None]
    is_valid: bool = True


@dataclass
class Model:
    """What is stored, and which of it is stale."""

    shape: Shape
    versions: dict[int, int] = field(default_factory=dict)
    fates: dict[int, Fate] = field(default_factory=dict)
    current: dict[tuple[int, str], Made] = field(default_factory=dict)
    ever: list[tuple[int, frozenset[int]]] = field(default_factory=list)

    def runs(self, ask: Ask) -> list[int] | None:
        """Return what has to be computed, upstreams first; None: an upstream has no value."""
        names = self.shape.ancestors(ask.targets) if ask.with_deps else sorted(ask.targets)
        if not ask.with_deps and any(self._lacks(target, ask) for target in ask.targets):
            return None
        running: list[int] = []
        for name in names:
            is_forced = ask.force and name in ask.targets
            if is_forced or self._is_stale(name, ask.partition, running):
                running.append(name)
        return running

    def _lacks(self, target: int, ask: Ask) -> bool:
        return any(
            kind == "dep"
            and upstream not in ask.targets
            and not self._valid(upstream, ask.partition)
            for upstream, kind in self.shape.upstream[target].items()
        )

    def _valid(self, name: int, partition: str) -> bool:
        made = self.current.get((name, partition))
        return made is not None and made.is_valid

    def _is_stale(self, name: int, partition: str, running: Sequence[int]) -> bool:
        made = self.current.get((name, partition))
        if made is None or not made.is_valid or made.version != self.versions.get(name, 0):
            return True
        for upstream in self.shape.upstream[name]:
            newest = self.current.get((upstream, partition))
            is_newer = newest and newest.is_valid and newest.number != made.saw.get(upstream)
            if upstream in running or is_newer:
                return True
        return False

    def make(
        self, name: int, partition: str, number: int, loaded: Mapping[int, int | None]
    ) -> None:
        """A value was stored, made from these."""
        saw = dict(loaded)
        for upstream, kind in self.shape.upstream[name].items():
            if kind == "after" and self._valid(upstream, partition):
                saw[upstream] = self.current[upstream, partition].number
        self.current[name, partition] = Made(number, self.versions.get(name, 0), saw)
        inputs = frozenset(it for it in loaded.values() if it is not None)
        self.ever.append((number, inputs))

    def invalidate(self, step: Invalidate) -> None:
        made = self.current.get((step.asset, step.partition))
        stale = {made.number} if made else set()
        if step.downstream:
            for number, inputs in self.ever:  # in the order they were made
                if inputs & stale:
                    stale.add(number)
        for made in self.current.values():
            made.is_valid = made.is_valid and made.number not in stale


class Numbers:
    """The bodies' source of values, and what they did since it was last asked."""

    def __init__(self) -> None:
        self.last = 0
        self.done: list[tuple[int, str, int, dict[int, int | None]]] = []

    def next(self, name: int, partition: str, loaded: dict[int, int | None]) -> int:
        self.last += 1
        self.done.append((name, partition, self.last, loaded))
        return self.last

    def taken(self) -> Iterator[tuple[int, str, int, dict[int, int | None]]]:
        done, self.done = self.done, []
        yield from done


BODY = """
@p.asset(name="n{name}", version="{version}", after=[{after}])
async def n{name}(ctx: Context{parameters}) -> int | Skip:
    number = numbers.next({name}, ctx.partition, {{{loaded}}})
    match fates.get({name}):
        case "fail":
            raise ValueError("destined")
        case "skip":
            return Skip("destined")
    return number
"""


def pipeline(name: str, model: Model, numbers: Numbers) -> Pipeline:
    """The pipeline of a shape, in the versions that the model has."""
    p = Pipeline(name)
    scope: dict[str, Any] = {
        "p": p, "Context": Context, "Dep": Dep, "Skip": Skip,
        "numbers": numbers, "fates": model.fates,
    }  # fmt: skip
    for number, upstream in enumerate(model.shape.upstream):
        loaded = {it: kind for it, kind in upstream.items() if kind != "after"}
        parameters = [
            f", u{it}: int = Dep(n{it})"
            if kind == "dep"
            else f", u{it}: int | None = Dep(n{it}, optional=True)"
            for it, kind in loaded.items()
        ]
        source = BODY.format(
            name=number,
            version=model.versions.get(number, 0),
            after=", ".join(f"n{it}" for it, kind in upstream.items() if kind == "after"),
            parameters="".join(parameters),
            loaded=", ".join(f"{it}: u{it}" for it in loaded),
        )
        exec(source, scope)  # the signature is what varies
    return p
