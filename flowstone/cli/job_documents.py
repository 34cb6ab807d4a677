"""Jobs as documents for machines, and as words for people."""

import json
from collections.abc import Sequence

from flowstone.cli.output import cell, columns, harmless, seconds_text, time_text
from flowstone.cli.run_documents import error_text
from flowstone.core.contracts.job_records import FailedAttempt, JobRecord
from flowstone.core.error_record import read_record
from flowstone.core.status import Status


def job_document(record: JobRecord) -> dict[str, object]:
    """Return a job for machines."""
    return {
        "job_id": record.job_id,
        "job": record.name,
        "status": record.status.value,
        "queue": record.queue,
        "priority": record.priority,
        "attempt": record.attempt,
        "arguments": json.loads(record.arguments),
        "result": None if record.result is None else json.loads(record.result),
        "error": read_record(record.error) or None,
        "waiting_on": record.waiting_on,
        "not_before": time_text(record.not_before),
        "enqueued_at": time_text(record.enqueued_at),
        "started_at": time_text(record.started_at),
        "finished_at": time_text(record.finished_at),
        "duration_ms": record.duration_ms,
        "schedule": record.schedule,
        "tick_at": time_text(record.tick_at),
    }


def attempt_document(attempt: FailedAttempt) -> dict[str, object]:
    """Return a failed attempt for machines."""
    return {
        "attempt": attempt.attempt,
        "failed_at": time_text(attempt.failed_at),
        "error": read_record(attempt.error),
    }


def jobs_table(records: Sequence[JobRecord]) -> str:
    """Return jobs for people, a line each."""
    header = ("job", "name", "status", "queue", "attempt", "enqueued", "took", "arguments", "why")
    rows = [
        (
            it.job_id,
            it.name,
            it.status,
            it.queue,
            it.attempt or "",
            time_text(it.enqueued_at),
            _took(it),
            _short(it.arguments),
            _why(it),
        )
        for it in records
    ]
    return columns(header, rows)


def job_text(record: JobRecord, attempts: Sequence[FailedAttempt]) -> str:
    """Return all that is known of a job, for people."""
    since = time_text(record.enqueued_at)
    facts = [
        f"job {record.job_id}  {harmless(record.name)}  {record.status}",
        f"enqueued {since} into {harmless(record.queue)}, priority {record.priority}",
        _place(record),
        f"arguments {harmless(record.arguments)}",
    ]
    if record.schedule is not None:
        tick = "by hand" if record.tick_at is None else f"tick {time_text(record.tick_at)}"
        facts.append(f"of schedule {harmless(record.schedule)}, {tick}")
    if record.status is Status.SUCCEEDED:
        facts.append(f"result {'null' if record.result is None else harmless(record.result)}")
    elif record.error and not attempts:
        facts.append(cell(error_text(record.error)))
    parts = ["\n".join(facts)]
    for it in attempts:
        error = read_record(it.error)
        head = (
            f"attempt {it.attempt} failed {time_text(it.failed_at)}: {cell(error_text(it.error))}"
        )
        trace = str(error.get("traceback") or "").rstrip()
        parts.append(f"{head}\n{harmless(trace)}" if trace else head)
    return "\n\n".join(parts)


def _place(record: JobRecord) -> str:
    """Say where it is, and what moves it on."""
    match record.status:
        case Status.READY if record.not_before is not None:
            return f"waits for its time, {time_text(record.not_before)}"
        case Status.READY:
            return f"waits for a worker that serves {harmless(record.queue)}"
        case Status.WAITING:
            return f"waits for {cell(record.waiting_on)}"
        case Status.RUNNING:
            return f"runs since {time_text(record.started_at)}, attempt {record.attempt}"
        case _:
            took = f" after {_took(record)}" if record.duration_ms is not None else ""
            return f"ended {time_text(record.finished_at)}{took}, attempt {record.attempt}"


def _why(record: JobRecord) -> str:
    if record.waiting_on:
        return f"waits for {record.waiting_on}"
    if record.not_before is not None:
        why = f"not before {time_text(record.not_before)}"
        return f"{why}; {error_text(record.error)}" if record.error else why
    return error_text(record.error)


def _took(record: JobRecord) -> str:
    return seconds_text(None if record.duration_ms is None else record.duration_ms / 1000)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
