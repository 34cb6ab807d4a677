"""
The events that there are, and what comes with each.

Emitting or listening to any other name is an error. Names are without the product's prefix;
durations are milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakSet

from flowstone.core.errors import AlreadyRegisteredError, NotRegisteredError

SPAN_PARTS = ("start", "stop", "exception")


@dataclass(frozen=True, slots=True)
class EventSpec:
    """
    One row of a catalogue.

    Attributes:
        name: Without the product's prefix.
        measurements: Names of the numbers that come with it.
        metadata: Names of the facts that come with it.
        description: When it is emitted.
    """

    name: str
    measurements: tuple[str, ...]
    metadata: tuple[str, ...]
    description: str


def span_events(
    name: str,
    metadata: tuple[str, ...],
    description: str,
    *,
    stop_measurements: tuple[str, ...] = (),
) -> tuple[EventSpec, EventSpec, EventSpec]:
    """Return the rows of a span: start, stop and exception."""
    return (
        EventSpec(f"{name}.start", ("system_time",), metadata, f"{description} begins"),
        EventSpec(
            f"{name}.stop", ("duration", *stop_measurements), metadata, f"{description} ended"
        ),
        EventSpec(
            f"{name}.exception", ("duration",), (*metadata, "error"), f"{description} failed"
        ),
    )


_IDENTITY = ("asset", "partition", "run_id")
_IO = ("asset", "partition", "io_manager")
_READER = ("asset", "run_id", "reader")

EVENTS: tuple[EventSpec, ...] = (
    *span_events("materialization", _IDENTITY, "An attempt at an asset"),
    *span_events("job", ("job", "job_id", "queue"), "An attempt at a job"),
    *span_events("io.load", _IO, "Loading a value", stop_measurements=("size_bytes",)),
    *span_events("io.store", _IO, "Storing a value", stop_measurements=("size_bytes",)),
    EventSpec("error", ("count",), ("type", *_IDENTITY, "retryable"), "An attempt failed"),
    EventSpec(
        "resources.setup_failed", (), ("name", "resource", "reason"), "A resource has no value"
    ),
    EventSpec("run.start", ("count",), ("run_id", "targets"), "A run was created; count of steps"),
    EventSpec("run.stop", ("duration",), ("run_id", "status"), "A run ended, seen by its waiter"),
    EventSpec("worker.start", (), ("worker_id", "queues"), "A worker registered and takes work"),
    EventSpec("worker.stop", (), ("worker_id",), "A worker stopped taking work and said goodbye"),
    *span_events("service", ("service",), "A background service's life in this process"),
    EventSpec(
        "loop.held",
        ("duration",),
        ("worker_id", "asset", "partition", "run_id", "where"),
        "A body held the event loop for more than a second, and has let go of it",
    ),
    EventSpec("rescue", ("count",), ("worker_id",), "Work was taken back from a dead worker"),
    EventSpec(
        "reconcile",
        ("count",),
        ("outcome",),
        "Jobs that something other than FlowStone had moved were put right",
    ),
    EventSpec(
        "schedule.tick",
        ("late",),
        ("schedule", "tick_at", "job_id"),
        "A job was enqueued for a tick of a schedule, so many milliseconds after it",
    ),
    EventSpec(
        "prune",
        ("runs", "materializations", "values", "jobs", "items"),
        (),
        "What was kept no longer was deleted",
    ),
    EventSpec("item_reader.init", ("duration",), _READER, "An item reader is ready to read"),
    EventSpec(
        "item_reader.read",
        ("duration", "count"),
        (*_READER, "batch_index"),
        "A page was read; count of its items, index of the page among those with items",
    ),
    EventSpec("item_reader.complete", ("count",), _READER, "All items were read; count of them"),
    EventSpec("item_reader.error", (), (*_READER, "error"), "An item reader failed"),
    EventSpec(
        "settlement.rejected",
        ("count",),
        ("worker_id",),
        "A worker reported work that it no longer owned; nothing of it was written",
    ),
)
"""The events of core and engine. Times are Unix seconds, durations milliseconds."""


class Catalogue:
    """
    The events that one application knows: those of `EVENTS`, and what its plugins add.

    Iterating gives the rows in the order in which they were added.
    """

    def __init__(self) -> None:
        self._specs: dict[str, EventSpec] = {spec.name: spec for spec in EVENTS}
        self._included: WeakSet[Catalogue] = WeakSet()

    def add(self, *specs: EventSpec) -> None:
        """
        Add events.

        Raises:
            AlreadyRegisteredError: An event of that name exists.
        """
        for spec in specs:
            if spec.name in self._specs:
                raise AlreadyRegisteredError("telemetry event", spec.name)
            self._specs[spec.name] = spec

    def include(self, other: "Catalogue") -> None:
        """Know what another one knows, now and later, for as long as that one is in use."""
        if other is not self:
            self._included.add(other)

    def __contains__(self, name: object) -> bool:
        return name in self._specs or any(name in it for it in self._included)

    def __iter__(self) -> Iterator[EventSpec]:
        theirs = {spec.name: spec for other in self._included for spec in other}
        return iter({**self._specs, **theirs}.values())

    def unknown(self, name: str) -> NotRegisteredError:
        """Return the error for an event that does not exist."""
        return NotRegisteredError("telemetry event", name, [spec.name for spec in self])
