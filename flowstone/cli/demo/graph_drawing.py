"""
The dependency graph as a picture: what is needed stands to the right of what needs it.

Each distribution stands in the column of its longest chain of requirements, and columns are put in
order by the mean place of their neighbors, a few times over, which untangles most crossings.
Source: Sugiyama, Tagawa, Toda (1981), without the dummy nodes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowstone.cli.demo.dependency_graph import groups
from flowstone.cli.demo.markup import Html, element
from flowstone.cli.demo.records import DependencyGraph

MOST_DRAWN = 120
"""More than that nobody can follow with the eye."""

_ROW, _HEIGHT, _MARGIN = 27, 21, 8
_LETTER, _LONGEST = 7.2, 28
_GAP, _WIDTH = 70, 960

Edges = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Box:
    number: int
    x: float
    y: float
    width: float


def drawn(graph: DependencyGraph) -> tuple[str, ...]:
    """The distributions in the picture: those that need or are needed, the best connected first."""
    degree = {name: len(needs) for name, needs in graph.requires.items()}
    for needs in graph.requires.values():
        for need in needs:
            degree[need] += 1
    connected = [name for name, edges in degree.items() if edges]
    connected.sort(key=lambda name: (-degree[name], name))
    return tuple(connected[:MOST_DRAWN])


def drawing(graph: DependencyGraph, marked: Iterable[str] = ()) -> Html:
    """
    The picture as SVG; pointing at a distribution brings out its edges.

    Args:
        marked: Distributions to be shown as damaged.
    """
    shown = set(drawn(graph))
    edges = {
        name: [need for need in needs if need in shown]
        for name, needs in sorted(graph.requires.items())
        if name in shown
    }
    if not edges:
        return Html("")
    boxes, width, height = _placed(_columns(edges), edges)
    lines = [_line(boxes[name], boxes[need]) for name, needs in edges.items() for need in needs]
    bad = set(marked)
    nodes = [
        _node(name, box, len(edges[name]), "bad" if name in bad else "")
        for name, box in boxes.items()
    ]
    picture = element(
        "svg",
        element("style", Html("\n".join(_highlight(box.number) for box in boxes.values()))),
        element("g", *lines, class_="edges", fill="none", stroke="#9aa1ad", stroke_opacity="0.5"),
        element("g", *nodes, class_="nodes", fill="#5d6573", font_size=12),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label="Which distribution needs which",
    )
    return element("div", picture, class_="scroll graph")


def _columns(edges: Edges) -> list[list[str]]:
    """From what needs most to what needs nothing; the members of a cycle stand in one column."""
    level: dict[str, int] = {}
    for group in groups(edges):
        below = [level[need] for name in group for need in edges[name] if need not in group]
        for name in group:
            level[name] = max(below, default=-1) + 1
    columns: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for name in edges:
        columns[-1 - level[name]].append(name)
    return _untangled(columns, edges)


def _untangled(columns: list[list[str]], edges: Edges) -> list[list[str]]:
    neighbors: dict[str, set[str]] = defaultdict(set)
    for name, needs in edges.items():
        for need in needs:
            neighbors[name].add(need)
            neighbors[need].add(name)
    place: dict[str, float] = {}
    for column in columns:
        place.update(_places(column))
    for sweep in range(8):
        for column in columns if sweep % 2 else reversed(columns):
            column.sort(
                key=lambda name: sum(map(place.__getitem__, neighbors[name])) / len(neighbors[name])
            )
            place.update(_places(column))
    return columns


def _places(column: Sequence[str]) -> dict[str, float]:
    """From 0 to 1, so that columns of different length compare."""
    return {name: (at + 0.5) / len(column) for at, name in enumerate(column)}


def _placed(columns: Sequence[Sequence[str]], edges: Edges) -> tuple[dict[str, _Box], float, float]:
    numbers = {name: number for number, name in enumerate(edges)}
    height = max(map(len, columns)) * _ROW + 2 * _MARGIN
    boxes: dict[str, _Box] = {}
    widest = [max(len(_short(name)) for name in column) * _LETTER + 18 for column in columns]
    gap = max(_GAP, (_WIDTH - sum(widest)) / max(1, len(columns) - 1))
    x = float(_MARGIN)
    for column, width in zip(columns, widest, strict=True):
        top = (height - len(column) * _ROW) / 2
        for at, name in enumerate(column):
            wide = len(_short(name)) * _LETTER + 18
            boxes[name] = _Box(numbers[name], x, top + at * _ROW, wide)
        x += width + gap
    return boxes, x - gap + _MARGIN, height


def _line(source: _Box, target: _Box) -> Html:
    x1, y1 = source.x + source.width, source.y + _HEIGHT / 2
    x2, y2 = target.x, target.y + _HEIGHT / 2
    bend = max((x2 - x1) / 2, 30)
    path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return element("path", d=path, class_=f"f{source.number} t{target.number}")


def _node(name: str, box: _Box, needs: int, kind: str) -> Html:
    return element(
        "g",
        element("title", f"{name} needs {needs}"),
        element(
            "rect",
            x=f"{box.x:.1f}",
            y=f"{box.y:.1f}",
            width=f"{box.width:.1f}",
            height=_HEIGHT,
            rx=5,
            fill="#ffffff",
            stroke="#d5d2cb",
        ),
        element("text", _short(name), x=f"{box.x + 9:.1f}", y=f"{box.y + 15:.1f}"),
        class_=f"n{box.number} {kind}".strip(),
    )


def _highlight(number: int) -> str:
    return (
        f"svg:has(.n{number}:hover) .f{number}{{stroke:var(--accent);stroke-opacity:1}}"
        f"svg:has(.n{number}:hover) .t{number}{{stroke:var(--warn);stroke-opacity:1}}"
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
