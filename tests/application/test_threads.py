"""Plain functions run in threads, beside the event loop."""

import contextvars
import threading

from flowstone import Pipeline
from tests.application.conftest import AppOf


class TestThreads:
    async def test_plain_functions_run_beside_the_event_loop(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        loop_went_on = threading.Event()
        threads: set[int] = set()

        @p.asset
        def waits_for_the_loop() -> bool:
            threads.add(threading.get_ident())
            return loop_went_on.wait(60)

        @p.asset
        async def the_loop() -> None:
            threads.add(threading.get_ident())
            loop_went_on.set()

        app = await app_of(p)

        assert await app.run([waits_for_the_loop, the_loop]) == [True, None]
        assert len(threads) == 2
        assert threading.get_ident() in threads

    async def test_a_plain_function_that_returns_an_awaitable_is_awaited(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")

        async def later() -> int:
            return 7

        p.asset(name="wrapped")(lambda: later())
        app = await app_of(p)

        assert await app.run("wrapped") == 7

    async def test_context_variables_of_the_caller_are_seen(self, app_of: AppOf) -> None:
        tenant = contextvars.ContextVar("tenant", default="nobody")
        p = Pipeline("p")

        @p.asset
        def in_a_thread() -> str:
            return tenant.get()

        @p.asset
        async def in_the_loop() -> str:
            seen = tenant.get()
            tenant.set("changed")
            return seen

        app = await app_of(p)
        tenant.set("acme")

        assert await app.run([in_a_thread, in_the_loop]) == ["acme", "acme"]
        assert tenant.get() == "acme"
