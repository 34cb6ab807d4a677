"""Branches beside each other, of which some fail or are late, and a router that selects one."""

import asyncio
import random

from flowstone import Context, Dep, Pipeline, Retry
from flowstone.plugins.parallel import Branch, Ok, Outcome, parallel
from flowstone.plugins.routing import FirstOf, choice, route, routed_from
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import RETRY, Body, MishapError

JOINED, STRICT, MERGED, KIND = (
    "branched.joined",
    "branched.strict",
    "branched.merged",
    "branched.kind",
)
ENDS = {
    STRICT: "failed",
    "branched.broken": "failed",
    # A branch is stopped when it is late or not needed any more; of a router's only one is run.
    **dict.fromkeys(["branched.sound", "branched.flaky", "branched.slow"]),
    **dict.fromkeys(["branched.by_even", "branched.by_odd"]),
}


def branches(audit: Audit) -> Pipeline:
    """Return the pipeline ``branched``."""
    pipeline = Pipeline("branched")
    body = Body("plain", audit, 0.02)

    async def run(ctx: Context, inputs: list[Made | None], payload: object = None) -> Made:
        made = body.begin(ctx, inputs, payload)
        await asyncio.sleep(0.02)
        body.end(made, "value")
        return made

    @pipeline.asset(retry=RETRY)
    async def root(ctx: Context) -> Made:
        return await run(ctx, [])

    @pipeline.asset(retry=RETRY)
    async def sound(ctx: Context, root: Made = Dep(root)) -> Made:
        return await run(ctx, [root])

    @pipeline.asset(retry=RETRY)
    async def flaky(ctx: Context, root: Made = Dep(root)) -> Made:
        made = body.begin(ctx, [root])
        if ctx.attempt <= 2:
            body.end(made, "raised")
            raise MishapError("on purpose")
        body.end(made, "value")
        return made

    @pipeline.asset(retry=Retry(2, base="0.1s"))
    async def broken(ctx: Context, root: Made = Dep(root)) -> Made:
        body.end(body.begin(ctx, [root]), "raised")
        raise MishapError("on purpose")

    @pipeline.asset(retry=RETRY)
    async def slow(ctx: Context, root: Made = Dep(root)) -> Made:
        made = body.begin(ctx, [root])
        await asyncio.sleep(random.choice([0.1, 3.0]))
        body.end(made, "value")
        return made

    @pipeline.asset(retry=RETRY)
    @parallel(failure_mode="partial")
    async def joined(
        ctx: Context,
        root: Made = Dep(root),
        sound: Made = Branch(sound),
        flaky: Outcome[Made] = Branch(flaky, required=False),
        broken: Outcome[Made] = Branch(broken, required=False),
        slow: Outcome[Made] = Branch(slow, required=False, timeout="0.6s"),
    ) -> Made:
        told = {"flaky": flaky, "broken": broken, "slow": slow}
        payload = {name: type(it).__name__ for name, it in told.items()}
        values = [it.value for it in told.values() if isinstance(it, Ok)]
        return await run(ctx, [root, sound, *values], payload)

    @pipeline.asset(retry=RETRY)
    @parallel()
    async def strict(
        ctx: Context, sound: Made = Branch(sound), broken: Made = Branch(broken)
    ) -> Made:
        return await run(ctx, [sound, broken])

    def is_even(number: int) -> bool:
        return number % 2 == 0

    @pipeline.asset(retry=RETRY)
    @route(choice("even", when=is_even), default="odd")
    async def kind(ctx: Context, root: Made = Dep(root)) -> int:
        """Another start would say something else: the first decision is the one that counts."""
        body.end(body.begin(ctx, [root]), "decided")
        return random.randrange(2)

    @pipeline.asset(retry=RETRY)
    @routed_from(kind, "even")
    async def by_even(ctx: Context, root: Made = Dep(root)) -> Made:
        return await run(ctx, [root], "even")

    @pipeline.asset(retry=RETRY)
    @routed_from(kind, "odd")
    async def by_odd(ctx: Context, root: Made = Dep(root)) -> Made:
        return await run(ctx, [root], "odd")

    @pipeline.asset(retry=RETRY)
    async def merged(ctx: Context, found: Made = FirstOf(by_even, by_odd)) -> Made:
        return await run(ctx, [found], found.payload)

    return pipeline
