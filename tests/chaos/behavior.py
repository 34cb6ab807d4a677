"""
What a body does, and how its materialization has to end for that.

A behavior decides by the attempt and by chance, never by what was there before: a body may be
started any number of times, in any process.
"""

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, replace
from typing import TypeAlias

from flowstone import Cancel, Context, JobContext, Retry, Skip, Snooze
from flowstone.core.attempt_context import AttemptContext
from tests.chaos.audit import Audit, Made

Returned: TypeAlias = Made | Skip | Snooze | Cancel

RETRY = Retry(8, base="0.2s", cap="1s")


class MishapError(Exception):
    """What a body raises on purpose."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """
    One way to behave.

    Attributes:
        ends: The status that its materialization ends with when all upstreams let it run.
        in_thread: Whether the body is a plain function.
        weight: How often assets behave so.
        retry: The asset's policy.
        timeout: The asset's, for one attempt.
    """

    ends: str = "succeeded"
    in_thread: bool = False
    weight: int = 1
    retry: Retry | None = None
    timeout: str | None = None


BEHAVIORS = {
    "plain": Behavior(weight=8),
    "threaded": Behavior(in_thread=True, weight=5),
    "heavy": Behavior(weight=2),
    "blocking": Behavior(weight=1),
    "flaky": Behavior(weight=3, retry=RETRY),
    "tardy": Behavior(in_thread=True, weight=1, retry=RETRY, timeout="0.4s"),
    "snoozing": Behavior(weight=2),
    "waiting": Behavior(weight=3),
    "expiring": Behavior(weight=1),
    "skipping": Behavior("skipped", weight=1),
    "giving_up": Behavior("cancelled", weight=1),
    "failing": Behavior("failed", in_thread=True, weight=1, retry=Retry(2, base="0.2s")),
    "unstorable": Behavior("failed", weight=1),
}


class Body:
    """The function of one asset."""

    def __init__(self, behavior: str, audit: Audit, seconds: float) -> None:
        self.behavior = behavior
        self._audit = audit
        self._seconds = seconds

    async def run(self, ctx: Context, inputs: list[Made | None]) -> object:
        made = self.begin(ctx, inputs)
        if self.behavior == "blocking" and not self._audit.is_measured:
            time.sleep(self._seconds * 10)  # noqa: ASYNC251  # that is what it is for
        else:
            await asyncio.sleep(self._seconds)
        return self._end(ctx, made)

    def run_in_thread(self, ctx: Context, inputs: list[Made | None]) -> object:
        made = self.begin(ctx, inputs)
        is_late = self.behavior == "tardy" and ctx.attempt == 1
        time.sleep(0.7 if is_late else self._seconds)
        return self._end(ctx, made)

    async def job(self, ctx: JobContext, note: str) -> Returned:
        made = self.begin_job(ctx, note)
        await asyncio.sleep(self._seconds)
        return self._end(ctx, made)

    def job_in_thread(self, ctx: JobContext, note: str) -> Returned:
        made = self.begin_job(ctx, note)
        is_late = self.behavior == "tardy" and ctx.attempt == 1
        time.sleep(0.7 if is_late else self._seconds)
        return self._end(ctx, made)

    def begin(self, ctx: Context, inputs: list[Made | None], payload: object = None) -> Made:
        """Write down that a body begins, and return its value."""
        tokens = [each.token for each in inputs if each is not None]
        made = self._made(ctx.attempt, tokens, payload)
        self._write_start(made, ctx.materialization_id, ctx.run_id, ctx.asset)
        return made

    def begin_job(self, ctx: JobContext, note: str) -> Made:
        """Write down that a job's body begins, and return its result."""
        made = self._made(ctx.attempt, [], note)
        self._write_start(made, ctx.job_id, None, ctx.job)
        return made

    def _made(self, attempt: int, tokens: list[str], payload: object) -> Made:
        filler = "x" * 200_000 if self.behavior == "heavy" else ""
        return Made(secrets.token_hex(8), attempt, tokens, payload, filler)

    def _write_start(self, made: Made, id_: int, run_id: int | None, name: str) -> None:
        self._audit.write(
            "start",
            token=made.token,
            at=time.monotonic(),  # the same for all processes, whatever their clocks say
            materialization=id_,
            run=run_id,
            asset=name,
            attempt=made.attempt,
            inputs=made.inputs,
        )

    def end(self, made: Made, outcome: str) -> None:
        self._audit.write("end", token=made.token, at=time.monotonic(), outcome=outcome)

    def _end(self, ctx: AttemptContext, made: Made) -> Returned:
        outcome, answer = self._answer(ctx, made)
        self.end(made, outcome)
        if outcome == "raised":
            raise MishapError("on purpose")
        return answer

    def _answer(self, ctx: AttemptContext, made: Made) -> tuple[str, Returned]:
        match self.behavior:
            case "flaky" if ctx.attempt <= 2:
                return "raised", made
            case "failing" | "discarding":
                return "raised", made
            case "snoozing" if random.random() < 0.5:
                return "snoozed", Snooze(random.choice([0, 0.1, 0.5, 1.5]))
            case "skipping":
                return "skipped", Skip("on purpose")
            case "giving_up":
                return "cancelled", Cancel("on purpose")
            case "unstorable":
                return "unstorable", replace(made, payload=float("nan"))
        return "value", made
