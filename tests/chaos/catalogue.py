"""
All there is of each kind.

A fault is a module with ``strike(world, chance)``, a load one with ``drive(client)``, and a group
of invariants one with ``INVARIANTS``; each is one file, and is named here and nowhere else.
"""

import random
from collections.abc import Awaitable, Callable

from tests.chaos.client import Client
from tests.chaos.faults import (
    cut_connections,
    exhausted_connections,
    frozen_backends,
    killed_child,
    killed_worker,
    locked_rows,
    paused_worker,
    restarted_server,
    silent_connections,
    silent_listeners,
    stopped_worker,
    terminated_backends,
    wrong_clock,
)
from tests.chaos.invariants import (
    barriers,
    claims,
    counters,
    deciding,
    endings,
    fates,
    job_fates,
    joining,
    limits,
    pointers,
    requests,
    scheduled,
    signaling,
    unique_jobs,
    values,
)
from tests.chaos.invariants.invariant import Invariant
from tests.chaos.loads import (
    approvals,
    branches,
    cancels,
    children,
    dags,
    decisions,
    gates,
    here,
    invalidations,
    job_cancels,
    job_repeats,
    job_results,
    job_transactions,
    job_twins,
    jobs,
    limited_jobs,
    queue_orders,
    repeats,
    retries,
    scatters,
    signals,
    ticks,
    transactions,
    wakes,
)
from tests.chaos.world import World

Strike = Callable[[World, random.Random], Awaitable[str]]
Drive = Callable[[Client], Awaitable[None]]

FAULTS: dict[str, tuple[Strike, int]] = {
    "killed worker": (killed_worker.strike, 3),
    "killed child": (killed_child.strike, 2),
    "paused worker": (paused_worker.strike, 2),
    "stopped worker": (stopped_worker.strike, 1),
    "worker with a wrong clock": (wrong_clock.strike, 1),
    "restarted server": (restarted_server.strike, 1),
    "terminated backends": (terminated_backends.strike, 1),
    "cut connections": (cut_connections.strike, 3),
    "silent connections": (silent_connections.strike, 1),
    "silent listeners": (silent_listeners.strike, 1),
    "locked rows": (locked_rows.strike, 2),
    "exhausted connections": (exhausted_connections.strike, 1),
    "frozen backends": (frozen_backends.strike, 1),
}
"""By name: what it does, and how often in each round of faults."""

LOADS: dict[str, Drive] = {
    "dags": dags.drive,
    "transactions": transactions.drive,
    "repeats": repeats.drive,
    "cancels": cancels.drive,
    "wakes": wakes.drive,
    "children": children.drive,
    "retries": retries.drive,
    "invalidations": invalidations.drive,
    "here": here.drive,
    "ticks": ticks.drive,
    "jobs": jobs.drive,
    "job_results": job_results.drive,
    "job_cancels": job_cancels.drive,
    "job_transactions": job_transactions.drive,
    "job_twins": job_twins.drive,
    "job_repeats": job_repeats.drive,
    "limited_jobs": limited_jobs.drive,
    "queue_orders": queue_orders.drive,
    "scatters": scatters.drive,
    "gates": gates.drive,
    "signals": signals.drive,
    "approvals": approvals.drive,
    "decisions": decisions.drive,
    "branches": branches.drive,
}

INVARIANTS: tuple[Invariant, ...] = (
    *endings.INVARIANTS,
    *counters.INVARIANTS,
    *claims.INVARIANTS,
    *values.INVARIANTS,
    *pointers.INVARIANTS,
    *fates.INVARIANTS,
    *requests.INVARIANTS,
    *job_fates.INVARIANTS,
    *unique_jobs.INVARIANTS,
    *scheduled.INVARIANTS,
    *limits.INVARIANTS,
    *barriers.INVARIANTS,
    *signaling.INVARIANTS,
    *deciding.INVARIANTS,
    *joining.INVARIANTS,
)
