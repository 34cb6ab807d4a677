"""What a worker counts for Prometheus, from its telemetry; needs the extra ``metrics``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowstone.core.application import FlowStone
from flowstone.core.telemetry import PREFIX, Telemetry

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EVENTS = (
    *(f"{span}.{part}" for span in ("materialization", "job") for part in ("stop", "exception")),
    "rescue",
    "settlement.rejected",
    "loop.held",
)


@contextmanager
def counting(app: FlowStone) -> Iterator[Callable[[], bytes] | None]:
    """
    Count what the application's telemetry tells for as long as the block runs.

    Gives what renders the counts; None without the extra. An emitter of the application's own,
    which nothing can be attached to, leaves the attempts uncounted: it has them already.
    """
    try:
        import prometheus_client
    except ImportError:
        yield None
        return
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    counts = _Counts(registry)
    emitter = app.telemetry
    detach = emitter.attach(counts.tell, EVENTS) if isinstance(emitter, Telemetry) else None
    try:
        yield lambda: prometheus_client.generate_latest(registry)
    finally:
        if detach is not None:
            detach()


class _Counts:
    def __init__(self, registry: "CollectorRegistry") -> None:
        from prometheus_client import Counter, Histogram

        self._attempts = Counter(
            "flowstone_attempts",
            "Attempts that ended, by what they were at and how they ended.",
            ["kind", "name", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "flowstone_attempt_seconds",
            "How long attempts took.",
            ["kind", "name"],
            registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800),
        )
        self._plain = {
            "rescue": Counter(
                "flowstone_rescued", "Attempts taken over from dead workers.", registry=registry
            ),
            "settlement.rejected": Counter(
                "flowstone_rejected", "Results that came too late to count.", registry=registry
            ),
        }
        self._held = Counter(
            "flowstone_loop_held_seconds",
            "For how long bodies held the event loop.",
            registry=registry,
        )

    def tell(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        name = event.removeprefix(PREFIX)
        if name in self._plain:
            self._plain[name].inc(measurements["count"])
        elif name == "loop.held":
            self._held.inc(measurements["duration"] / 1000)
        else:
            kind, _, part = name.partition(".")
            kind = "asset" if kind == "materialization" else kind
            whose = str(metadata["job" if kind == "job" else "asset"])
            outcome = "failed" if part == "exception" else "ok"
            self._attempts.labels(kind, whose, outcome).inc()
            self._seconds.labels(kind, whose).observe(measurements["duration"] / 1000)
