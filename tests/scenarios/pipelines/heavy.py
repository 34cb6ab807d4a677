"""Assets in child processes: the process id of a start is the child's."""

from flowstone import Context, Dep, Pipeline, Retry
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.gated import gate_of
from tests.scenarios.pipelines.made import Made, begin, made

heavy = Pipeline("heavy", retry=Retry(5, base=0))


@heavy.asset(executor="process")
def counted(ctx: Context) -> Made:
    start = begin(ctx)
    Ledger.of_this_process().pass_gate_in_thread(gate_of(ctx), ctx)
    return made(start)


@heavy.asset(executor="process")
def beside(ctx: Context) -> Made:
    start = begin(ctx)
    Ledger.of_this_process().pass_gate_in_thread(gate_of(ctx), ctx)
    return made(start)


@heavy.asset(executor="process")
def stuck_at_first(ctx: Context) -> Made:
    """Lets no other thread of its process run, and no handler of a signal."""
    start = begin(ctx)
    if ctx.attempt == 1:
        sum(range(10**15))
    return made(start)


@heavy.asset(executor="process")
def after(ctx: Context, base: Made = Dep(counted)) -> Made:
    return made(begin(ctx), base)
