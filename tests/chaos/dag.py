"""Assets with random edges and random behavior, the same for the same seed in every process."""

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass

from flowstone import Cancel, Context, Definition, Dep, Pipeline, Skip, Snooze
from flowstone.core.asset import Asset
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import BEHAVIORS, Body
from tests.chaos.waiting import Wakeable

ASSETS = 40
PARTITIONS = ["a", "b", "c", "d"]

AnyAsset = Asset[..., object]


@dataclass(frozen=True, slots=True)
class Edges:
    """What an asset is made from; of ``optional`` ones the value may be missing."""

    required: list[AnyAsset]
    optional: list[AnyAsset]
    after: list[AnyAsset]


def random_dag(seed: int, audit: Audit) -> Pipeline:
    """Return the pipeline ``dag``; the name of an asset says how it behaves."""
    chance = random.Random(f"dag {seed}")
    pipeline = Pipeline("dag")
    names = list(BEHAVIORS)
    weights = [it.weight for it in BEHAVIORS.values()]
    # Each behavior at least once, the rest by chance.
    drawn = [*names, *chance.choices(names, weights, k=ASSETS - len(names))]
    chance.shuffle(drawn)
    assets: list[AnyAsset] = []
    sure: set[AnyAsset] = set()
    for number, behavior in enumerate(drawn):
        edges = _edges(chance, assets[-12:], sure)
        body = Body(behavior, audit, chance.uniform(0.005, 0.08))
        assets.append(_add(pipeline, f"n{number:02}_{behavior}", body, edges))
        if BEHAVIORS[behavior].ends == "succeeded" and sure.issuperset(edges.required):
            sure.add(assets[-1])
    return pipeline


def end_of(full_name: str) -> str:
    """Return how an asset ends when its upstreams let it run."""
    return BEHAVIORS[full_name.partition("_")[2]].ends


def _edges(chance: random.Random, near: list[AnyAsset], sure: set[AnyAsset]) -> Edges:
    def some(most: int, among: list[AnyAsset]) -> list[AnyAsset]:
        return chance.sample(among, min(len(among), chance.randint(0, most)))

    # What may end without a value is seldom required: else little would ever run.
    trusted = near if chance.random() < 0.15 else [it for it in near if it in sure]
    required = some(3, trusted)
    optional = some(2, [it for it in near if it not in required])
    used = {*required, *optional}
    return Edges(required, optional, some(1, [it for it in near if it in sure - used]))


def _add(pipeline: Pipeline, name: str, body: Body, edges: Edges) -> AnyAsset:
    behavior = BEHAVIORS[body.behavior]
    function = _function(body, edges, in_thread=behavior.in_thread)
    timeouts: dict[str, float | None] = {"waiting": None, "expiring": 1.0}
    wanted: object = function
    if body.behavior in timeouts:
        strategy = Wakeable(body, timeouts[body.behavior])
        wanted = Definition(function, strategy=strategy, value_type=Made)
    decorate = pipeline.asset(
        name=name, after=edges.after, retry=behavior.retry, timeout=behavior.timeout
    )
    return decorate(wanted)  # type: ignore[call-overload, no-any-return]  # of two types


def _function(body: Body, edges: Edges, *, in_thread: bool) -> Callable[..., object]:
    """Return a function with a parameter for the context and for each edge with a value."""
    wanted: dict[str, tuple[object, object]] = {"ctx": (Context, inspect.Parameter.empty)}
    for number, asset in enumerate(edges.required):
        wanted[f"r{number}"] = (Made, Dep(asset))
    for number, asset in enumerate(edges.optional):
        wanted[f"o{number}"] = (Made | None, Dep(asset, optional=True))

    async def run(*, ctx: Context, **inputs: Made | None) -> object:
        return await body.run(ctx, list(inputs.values()))

    def run_in_thread(*, ctx: Context, **inputs: Made | None) -> object:
        return body.run_in_thread(ctx, list(inputs.values()))

    function: Callable[..., object] = run_in_thread if in_thread else run
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
        )
        for name, (annotation, default) in wanted.items()
    ]
    returned = Made | Skip | Snooze | Cancel
    signature = inspect.Signature(parameters, return_annotation=returned)
    function.__signature__ = signature  # type: ignore[attr-defined]
    annotations = {name: annotation for name, (annotation, _) in wanted.items()}
    function.__annotations__ = {**annotations, "return": returned}
    return function
