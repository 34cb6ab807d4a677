"""
Which partition of an asset was worked on last: what a list of assets shows of each.

Reads the public views. What was planned lately counts most; of an asset with nothing recent, the
last partition (in the order of their encoded texts) that has a value. Both need an index each, so
that it costs the same whatever the database holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowstone.core.status import Status
from flowstone.engine.select import select

RECENT = 10_000
"""How many materializations are looked at for the newest of each asset."""

_RECENT = f"""\
SELECT DISTINCT ON (asset) asset, partition, status
FROM (
    SELECT materialization_id, asset, partition, status
    FROM materializations
    ORDER BY materialization_id DESC
    LIMIT {RECENT}
) recent
WHERE asset = ANY (%(assets)s) AND (%(partition)s::text IS NULL OR partition = %(partition)s)
ORDER BY asset, materialization_id DESC"""

_STORED = """\
SELECT named.asset, stored.partition
FROM unnest(%(assets)s::text[]) AS named(asset)
CROSS JOIN LATERAL (
    SELECT c.partition
    FROM current_values c
    WHERE c.asset = named.asset AND (%(partition)s::text IS NULL OR c.partition = %(partition)s)
    ORDER BY c.partition DESC
    LIMIT 1
) stored"""


@dataclass(frozen=True, slots=True)
class Latest:
    """
    The partition of an asset that was worked on last.

    Attributes:
        partition: Encoded; empty is none.
        status: Of its newest materialization; None when that was not recent.
    """

    partition: str
    status: Status | None


def latest_partitions(
    dsn: str, assets: Sequence[str], *, partition: str | None = None, schema: str = "flowstone"
) -> Mapping[str, Latest]:
    """
    Return the latest of each asset, by full name; those without any are left out.

    Args:
        partition: Look at this one only.
    """
    wanted = {"assets": list(assets), "partition": partition}
    stored = select(dsn, _STORED, wanted, schema=schema)
    recent = select(dsn, _RECENT, wanted, schema=schema)
    found = {str(asset): Latest(str(it), None) for asset, it in stored.rows}
    found |= {str(asset): Latest(str(it), Status(str(status))) for asset, it, status in recent.rows}
    return found
