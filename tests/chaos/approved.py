"""Assets whose value somebody approves, rejects or replaces, or nobody does."""

from flowstone import Context, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval
from tests.chaos.audit import Audit, Made
from tests.chaos.behavior import RETRY, Body

ASKED, GRANTED, REFUSED = "approved.asked", "approved.granted", "approved.refused"
ENDS = dict.fromkeys([ASKED, GRANTED, REFUSED])
"""How each ends is for those who decide to say."""

TIMEOUT = "1.5s"


def approvals(audit: Audit) -> Pipeline:
    """Return the pipeline ``approved``."""
    pipeline = Pipeline("approved")
    body = Body("plain", audit, 0.01)

    async def ask(ctx: Context) -> NeedsApproval[Made]:
        made = body.begin(ctx, [])
        body.end(made, "value")
        return NeedsApproval(made, "may it?")

    pipeline.asset(name="asked", retry=RETRY)(approval()(ask))
    pipeline.asset(name="granted", retry=RETRY)(
        approval(timeout=TIMEOUT, on_timeout="approve")(ask)
    )
    pipeline.asset(name="refused", retry=RETRY)(approval(timeout=TIMEOUT, on_timeout="reject")(ask))
    return pipeline
