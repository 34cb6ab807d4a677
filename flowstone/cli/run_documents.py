"""Runs and materializations as documents for machines, and as words for people."""

import json
import os
import re
from collections.abc import Mapping, Sequence

from flowstone.cli.output import time_text
from flowstone.core.contracts.store import Key, MaterializationRecord, Reused, RunRecord
from flowstone.core.error_record import read_record
from flowstone.core.status import Status

WORDS = {
    Status.SUCCEEDED: "ok",
    Status.FAILED: "FAILED",
    Status.UPSTREAM_FAILED: "upstream failed",
    Status.SKIPPED: "skipped",
    Status.CANCELLED: "cancelled",
}
_FRAME = r'File "([^"]+)", line (\d+)'
_OURS = re.compile(r"[/\\]flowstone[/\\](core|engine|plugins|integrations)[/\\]")


def run_document(record: RunRecord) -> dict[str, object]:
    """Return a run for machines."""
    return {
        "run_id": record.run_id,
        "status": record.status.value,
        "targets": [_key(key) for key in record.targets],
        "options": json.loads(record.options) if record.options else None,
        "created_at": time_text(record.created_at),
        "finished_at": time_text(record.finished_at),
        "seconds": seconds_of(record),
        "counts": {status.value: count for status, count in record.counts.items() if count},
        "reused": record.reused_count,
        "retry_of": record.retry_of,
    }


def materialization_document(record: MaterializationRecord) -> dict[str, object]:
    """Return a materialization for machines."""
    return {
        "materialization_id": record.id,
        "run_id": record.run_id,
        **_key(record.key),
        "status": record.status.value,
        "attempt": record.attempt,
        "reason": record.reason,
        "error": read_record(record.error) or None,
        "waiting_on": record.waiting_on,
        "whom": list(record.whom),
        "started_at": time_text(record.started_at),
        "finished_at": time_text(record.finished_at),
        "duration_ms": record.duration_ms,
    }


def reused_document(reused: Reused) -> dict[str, object]:
    """Return what a run took as it was, for machines."""
    return {
        "materialization_id": reused.materialization_id,
        **_key(reused.key),
        "reason": reused.reason,
    }


def counts_text(record: RunRecord) -> str:
    """Return how a run's materializations stand: ``2 ok, 1 reused, 1 failed``."""
    counts = record.counts
    said = [
        (counts.get(Status.SUCCEEDED, 0), "ok"),
        (record.reused_count, "reused"),
        *(
            (counts.get(status, 0), status.value.replace("_", " "))
            for status in Status
            if status is not Status.SUCCEEDED
        ),
    ]
    return ", ".join(f"{count} {word}" for count, word in said if count) or "nothing to do"


def seconds_of(record: RunRecord) -> float | None:
    """Return how long an ended run took."""
    if record.finished_at is None:
        return None
    return (record.finished_at - record.created_at).total_seconds()


def key_text(key: Key) -> str:
    """Return ``pipeline.asset[partition]``."""
    return f"{key.asset}[{key.partition}]" if key.partition else key.asset


def targets_text(keys: Sequence[Key], most: int = 3) -> str:
    """Return the first targets, and how many more there are."""
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(map(key_text, keys[:most])) + more


def error_text(error: str | None) -> str:
    """Return what went wrong, and where in the author's code, from the JSON that rows keep."""
    return record_text(read_record(error))


def record_text(record: Mapping[str, object]) -> str:
    """Return what went wrong, and where in the author's code, from the record of an error."""
    message = str(record.get("message", "")).removeprefix("Asset execution failed: ")
    place = _place(record)
    return f"{message}  ({place})" if place and message else message


def _place(record: Mapping[str, object]) -> str | None:
    """Find the last line of the traceback that is not FlowStone's own."""
    frames = re.findall(_FRAME, str(record.get("traceback", "")))
    outside = [(file, line) for file, line in frames if not _OURS.search(file)]
    if not outside:
        return None
    file, line = outside[-1]
    return f"{os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file}:{line}"


def _key(key: Key) -> dict[str, object]:
    return {"asset": key.asset, "partition": key.partition or None}
