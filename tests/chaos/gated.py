"""Assets that wait for a signal: for ever, or until their time is up."""

import random

from flowstone import Context, Pipeline
from flowstone.plugins.signal_gate import Wait, signal_gate
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import RETRY, Body, MishapError

PATIENT, HASTY, FICKLE = "gated.patient", "gated.hasty", "gated.fickle"
ENDS = {PATIENT: "succeeded", HASTY: "succeeded", FICKLE: None}
TIMEOUT = "1.5s"


def token_of(asset: str, run_id: int) -> str:
    """Return the token of a gate, which whoever has begun the run knows before the gate does."""
    return f"{asset}:{run_id}"


def gates(audit: Audit) -> Pipeline:
    """Return the pipeline ``gated``."""
    pipeline = Pipeline("gated")
    body = Body("plain", audit, 0.01)

    async def heard(payload: str, ctx: Context) -> Made:
        made = body.begin(ctx, [], {"timed_out": False, "payload": payload})
        if random.random() < 0.2:
            body.end(made, "raised")
            raise MishapError("on purpose")
        body.end(made, "value")
        return made

    async def late(ctx: Context) -> Made:
        made = body.begin(ctx, [], {"timed_out": True, "payload": None})
        body.end(made, "value")
        return made

    async def wait(ctx: Context) -> Wait:
        assert ctx.run_id is not None
        body.end(body.begin(ctx, []), "waits")
        return Wait(token=token_of(ctx.asset, ctx.run_id))

    pipeline.asset(name="patient", retry=RETRY)(signal_gate(on_signal=heard, timeout=None)(wait))
    pipeline.asset(name="hasty", retry=RETRY)(
        signal_gate(on_signal=heard, on_timeout=late, timeout=TIMEOUT)(wait)
    )
    pipeline.asset(name="fickle", retry=RETRY)(
        signal_gate(on_signal=heard, on_timeout="cancel", timeout=TIMEOUT)(wait)
    )
    return pipeline
