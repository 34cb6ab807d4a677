"""
Is the procrastinate beneath us one that we know?

The engine writes procrastinate's tables with SQL of its own. A release that means something else by
a column, a migration that was left half-way, or a trigger that somebody switched off would be found
out by lost work; so the schema is compared, object by object, with what was recorded for the
releases that FlowStone was built on. Anything else is refused before anything is written.

Indexes and triggers that do not carry procrastinate's name are nobody's business here: ours, and
those that a database's owner adds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import asyncpg
import psycopg
from asyncpg.pool import PoolConnectionProxy

from flowstone.core.errors import SchemaFingerprintError
from flowstone.engine.statements import script, sql_root

STOCK_TRIGGERS = (
    "procrastinate_jobs_notify_queue_job_aborted_v1",
    "procrastinate_jobs_notify_queue_job_inserted_v1",
    "procrastinate_trigger_abort_requested_events_v1",
    "procrastinate_trigger_scheduled_events_v1",
    "procrastinate_trigger_status_events_insert_v1",
    "procrastinate_trigger_status_events_update_v1",
)
BATCHED_TRIGGERS = (
    "flowstone_job_abort_requested",
    "flowstone_jobs_inserted",
    "flowstone_jobs_updated",
)
INTERVENTION_TRIGGERS = (
    "flowstone_job_deleted",
    "flowstone_job_moved",
    "flowstone_jobs_go",
    "flowstone_jobs_gone",
)
_JOBS_TRIGGER = "trigger procrastinate_jobs."


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """
    What procrastinate looks like in one schema.

    Attributes:
        objects: Object → definition, as ``sql/procrastinate/objects.sql`` words them, without
            what is not procrastinate's.
        enabled: Trigger → whether it fires; ours among them.
    """

    objects: Mapping[str, str]
    enabled: Mapping[str, bool]

    @property
    def digest(self) -> str:
        """SHA-256 over the objects, in hexadecimal; the same on every Postgres."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return the objects as the records in ``sql/procrastinate/known/`` keep them."""
        return json.dumps(dict(sorted(self.objects.items())), indent=1) + "\n"


def read(connection: psycopg.Connection[tuple[object, ...]]) -> Fingerprint:
    """Read the fingerprint of the connection's current schema, in its transaction."""
    with psycopg.Cursor(connection) as cursor:
        return _fingerprint(cursor.execute(_objects().encode()).fetchall())


async def read_from_asyncpg(
    connection: asyncpg.Connection | PoolConnectionProxy,
) -> Fingerprint:
    """Read the fingerprint of the connection's current schema, in its transaction."""
    return _fingerprint(tuple(row) for row in await connection.fetch(_objects()))


def _objects() -> str:
    return script("procrastinate/objects.sql")


def _fingerprint(rows: Iterable[tuple[object, ...]]) -> Fingerprint:
    described = [(str(name), str(definition), enabled) for name, definition, enabled in rows]
    return Fingerprint(
        objects={name: definition for name, definition, _ in described if _is_theirs(name)},
        enabled={
            name.removeprefix(_JOBS_TRIGGER): bool(enabled)
            for name, _, enabled in described
            if name.startswith(_JOBS_TRIGGER)
        },
    )


def _is_theirs(described: str) -> bool:
    kind, _, name = described.partition(" ")
    if kind not in ("index", "trigger"):
        return True
    return name.rpartition(".")[2].startswith(("procrastinate_", "idx_procrastinate_"))


@lru_cache(maxsize=1)
def known() -> Mapping[str, Mapping[str, str]]:
    """Return the recorded objects of every procrastinate that we know, by its version."""
    folder = sql_root() / "procrastinate" / "known"
    return {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.json"))
    }


def check(fingerprint: Fingerprint, schema: str) -> str:
    """
    Return the version of procrastinate that this is.

    Raises:
        SchemaFingerprintError: It is none that we know, or its triggers are neither all
            procrastinate's nor all ours; it names the objects that differ.
    """
    candidates = {
        version: differences(fingerprint.objects, objects) for version, objects in known().items()
    }
    version = min(candidates, key=lambda name: len(candidates[name]))
    if candidates[version]:
        raise SchemaFingerprintError(
            f"schema '{schema}' holds a procrastinate that FlowStone does not know; "
            f"against {version}: {_some(candidates[version])}. "
            f"Bring its tables to {version} with procrastinate's own migrations, "
            "or give FlowStone a schema of its own",
            context={"differences": list(candidates[version])},
        )
    wrong = trigger_differences(fingerprint.enabled)
    if wrong:
        raise SchemaFingerprintError(
            f"schema '{schema}' records job events neither with procrastinate's triggers nor with "
            f"FlowStone's: {_some(wrong)}. Run: flowstone db triggers batched",
            context={"differences": list(wrong)},
        )
    return version


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> tuple[str, ...]:
    """Name each object that is missing, unknown or different."""
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            lines.append(f"{name} is missing")
        elif name not in expected:
            lines.append(f"{name} is unknown")
        elif found[name] != expected[name]:
            lines.append(f"{name} differs")
    return tuple(lines)


def trigger_differences(enabled: Mapping[str, bool]) -> tuple[str, ...]:
    """
    Name the triggers that keep the set from being all procrastinate's or all ours.

    Those that note what others do to our jobs belong to both, where our tables are.
    """
    batched = any(enabled.get(name) for name in BATCHED_TRIGGERS)
    wanted = dict.fromkeys(STOCK_TRIGGERS, not batched)
    wanted |= dict.fromkeys(BATCHED_TRIGGERS, batched)
    wanted |= {"procrastinate_trigger_delete_jobs_v1": True}
    wanted |= {name: True for name in INTERVENTION_TRIGGERS if name in enabled}
    return tuple(
        f"trigger {name} is {'off' if wanted[name] else 'on'}"
        for name in sorted(wanted)
        if enabled.get(name, False) is not wanted[name]
    )


def _some(lines: tuple[str, ...]) -> str:
    rest = f", and {len(lines) - 5} more" if len(lines) > 5 else ""
    return ", ".join(lines[:5]) + rest
