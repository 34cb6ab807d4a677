"""
Whether a request's partitions are what its assets say: ``Context[date]`` is computed for a date.

Whoever asks is told at once, and nothing is written; a worker would find out much later.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from flowstone.core import partition as partitions
from flowstone.core.asset import Asset
from flowstone.core.errors import InvalidPartitionError
from flowstone.core.signature import Signature

_Wanted = tuple[type | None, bool]
"""The type that the `Context` says, and whether there has to be a partition at all."""


class PartitionTypes:
    """
    What the assets of an application say of their partitions.

    Attributes:
        are_said: Whether any asset says something.
    """

    def __init__(self, assets: Mapping[str, Asset[..., object]]) -> None:
        self._said = {name: said for name, asset in assets.items() if (said := _said(asset))}
        self.are_said = bool(self._said)

    def check(self, names: Iterable[str], given: Sequence[object]) -> None:
        """
        Refuse partitions that one of these assets would refuse when it runs.

        Args:
            given: As the caller gave them; each has been encoded once.

        Raises:
            InvalidPartitionError: One has another type, or there is none where one is needed.
        """
        wanted: dict[_Wanted, str] = {}
        for name in names:
            for said in self._said.get(name, ()):
                wanted.setdefault(said, name)
        for (kind, is_needed), name in wanted.items():
            for partition in given:
                if type(partition) is kind:
                    continue
                if partition is None:
                    if is_needed:
                        raise InvalidPartitionError(_none_given(name, kind))
                elif kind is not None and not _stands_for(partition, kind):
                    raise InvalidPartitionError(_other_given(name, kind, partition))


def _said(asset: Asset[..., object]) -> tuple[_Wanted, ...]:
    signatures = (asset.signature, *asset.phase_signatures.values())
    return tuple(dict.fromkeys(said for it in signatures if (said := _of(it)) != (None, False)))


def _of(signature: Signature) -> _Wanted:
    return signature.partition_type, signature.needs_partition


def _stands_for(partition: object, kind: type) -> bool:
    try:
        partitions.decode(partitions.encode(partition), kind)
    except InvalidPartitionError:
        return False
    return True


def _none_given(name: str, kind: type | None) -> str:
    what = f"{kind.__qualname__} (Context[{kind.__qualname__}])" if kind else "partition"
    return (
        f"asset '{name}' is computed for a {what}, and none is given: "
        "say partition=..., on the command line -p"
    )


def _other_given(name: str, kind: type, partition: object) -> str:
    said = f"asset '{name}' is computed for a {kind.__qualname__} (Context[{kind.__qualname__}])"
    meant = _meant(partition, kind)
    advice = (
        "" if meant is None else f"; write partition={meant!r}, or -p {partitions.encode(meant)}"
    )
    return f"{said}, not for {partition!r}{advice}"


def _meant(partition: object, kind: type) -> partitions.Partition:
    """Return what was probably meant, or None."""
    meant: object = None
    if isinstance(partition, datetime) and kind is date:
        meant = partition.date()
    elif isinstance(partition, str):
        meant = partitions.decode(partition)
    elif isinstance(partition, date):
        meant = partition.isoformat()
    return meant if isinstance(meant, kind) else None  # type: ignore[return-value]
