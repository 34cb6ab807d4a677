"""What takes the room on the disk, by file, by distribution and by kind of file."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator

from flowstone.cli.demo.records import Largest, RecordedFiles, Weight

_NATIVE = (".so", ".pyd", ".dll", ".dylib", ".a")


def weigh(recorded: Iterable[RecordedFiles], *, most: int = 15) -> Largest:
    """
    The largest files, every distribution by its size, and the kinds of files.

    A file that is not there weighs nothing. A file that several claim is charged to each.
    """
    files: list[Weight] = []
    distributions: list[Weight] = []
    kinds: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for each in recorded:
        own = list(_files(each))
        files = sorted([*files, *own], key=lambda file: (-file.size, file.name))[:most]
        total = sum(file.size for file in own)
        distributions.append(Weight(each.owner, each.owner, len(own), total))
        for file in own:
            count, size = kinds[kind(file.name)]
            kinds[kind(file.name)] = (count + 1, size + file.size)
    distributions.sort(key=lambda weight: (-weight.size, weight.name))
    by_kind = [Weight(name, "", count, size) for name, (count, size) in kinds.items()]
    by_kind.sort(key=lambda weight: (-weight.size, weight.name))
    return Largest(
        files=tuple(files),
        distributions=tuple(distributions),
        kinds=tuple(by_kind[:most]),
        file_count=sum(weight.file_count for weight in distributions),
        size=sum(weight.size for weight in distributions),
    )


def kind(path: str) -> str:
    """What sort of file it is by its name: libraries with a version number are libraries too."""
    name = posixpath.basename(path).lower()
    suffix = posixpath.splitext(name)[1]
    if suffix in _NATIVE or ".so." in name:
        return "compiled library"
    return suffix or "no suffix"


def _files(each: RecordedFiles) -> Iterator[Weight]:
    for folder in each.folders:
        for name, size in zip(folder.names, folder.sizes, strict=True):
            if size >= 0:
                yield Weight(posixpath.join(folder.path, name), each.owner, 1, size)
