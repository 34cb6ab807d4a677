"""
Files in the site folders that no distribution claims: left behind, copied there, or generated.

A folder of which no distribution recorded its files belongs to the operating system's packages; it
is not looked at.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from flowstone.cli.demo.environment import files_below
from flowstone.cli.demo.file_names import to_name, to_text
from flowstone.cli.demo.recorded_files import paths_of
from flowstone.cli.demo.records import Distribution, Inventory, Unowned, Weight

_MOST_GROUPS = 40


def find_unowned(distributions: Iterable[Distribution], inventory: Inventory) -> Unowned | None:
    """What nobody claims in the folders whose files were recorded; None if there is none."""
    sites = sorted({each.site for each in inventory.recorded})
    if not sites:
        return None
    claimed = {os.path.normcase(path) for each in inventory.recorded for path in paths_of(each)}
    folders = tuple(os.path.normcase(folder) for folder in _folders_claimed(distributions))
    groups: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for site in map(to_name, sites):
        for path, state in files_below(Path(site)):
            known = os.path.normcase(path)
            if known not in claimed and not known.startswith(folders):
                count, size = groups[_group(site, path)]
                groups[_group(site, path)] = (count + 1, size + state.st_size)
    weights = [Weight(to_text(name), "", *counted) for name, counted in groups.items()]
    weights.sort(key=lambda weight: (-weight.size, weight.name))
    return Unowned(
        groups=tuple(weights[:_MOST_GROUPS]),
        file_count=sum(weight.file_count for weight in weights),
        size=sum(weight.size for weight in weights),
    )


def _folders_claimed(distributions: Iterable[Distribution]) -> Iterable[str]:
    """
    Beginnings of paths that belong to a distribution without naming each file.

    A distribution without a RECORD is taken at its word for its modules.
    """
    for each in distributions:
        site, info = to_name(each.site), os.path.join(to_name(each.site), to_name(each.info))
        if each.is_recorded:
            yield os.path.join(info, "RECORD")
            continue
        yield info
        for module in each.top_level:
            yield os.path.join(site, to_name(module), "")
            yield os.path.join(site, f"{to_name(module)}.")


def _group(site: str, path: str) -> str:
    first, separator, _ = os.path.relpath(path, site).partition(os.sep)
    return f"{first}/" if separator else first
