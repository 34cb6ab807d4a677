"""
What authors of pipelines, jobs and plugins test with.

::

    async def test_a_buyer_gets_a_mail(flowstone_app):      # a fixture of the pytest plugin
        async with flowstone_app(shop) as app:
            await buy(app, "tea")

            await assert_enqueued(app, send_mail.with_(to="ann@example.org"))
            assert await drain(app) == Drained(succeeded=1)

The same in memory and on Postgres. Names are imported when they are first used: an installed plugin
that a session of pytest does not use costs it nothing. What is here needs no pytest but for the
plugin, `flowstone.testing.pytest_plugin`, and the suites in ``flowstone.testing.contracts``.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from flowstone.testing.applications import Applications
    from flowstone.testing.approvals import approve, open_approval, reject
    from flowstone.testing.crashing import crash
    from flowstone.testing.draining import Drained, drain
    from flowstone.testing.enqueued_jobs import (
        EnqueuedJob,
        assert_enqueued,
        enqueued,
        refute_enqueued,
    )
    from flowstone.testing.memory_application import memory_app
    from flowstone.testing.owned_clock import OwnedClock
    from flowstone.testing.passing_time import advance, mark_as_test
    from flowstone.testing.performing import perform
    from flowstone.testing.signaling import send_signal
    from flowstone.testing.ticking import tick

__all__ = [
    "Applications",
    "Drained",
    "EnqueuedJob",
    "OwnedClock",
    "advance",
    "approve",
    "assert_enqueued",
    "crash",
    "drain",
    "enqueued",
    "mark_as_test",
    "memory_app",
    "open_approval",
    "perform",
    "refute_enqueued",
    "reject",
    "send_signal",
    "tick",
]

_HOMES = {
    "Applications": "applications",
    "Drained": "draining",
    "EnqueuedJob": "enqueued_jobs",
    "OwnedClock": "owned_clock",
    "advance": "passing_time",
    "approve": "approvals",
    "assert_enqueued": "enqueued_jobs",
    "crash": "crashing",
    "drain": "draining",
    "enqueued": "enqueued_jobs",
    "mark_as_test": "passing_time",
    "memory_app": "memory_application",
    "open_approval": "approvals",
    "perform": "performing",
    "refute_enqueued": "enqueued_jobs",
    "reject": "approvals",
    "send_signal": "signaling",
    "tick": "ticking",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flowstone.testing' has no attribute '{name}'")
    value: object = getattr(_import_module(f"flowstone.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
