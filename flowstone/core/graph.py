"""
The graph of assets as text: for a terminal, for Mermaid and Graphviz, as JSON.

The same graph gives the same text. Assets are called by their own names while all of them are of
one pipeline, and by full names otherwise. An optional edge is marked ``optional``, one that only
says what comes first ``after``, one whose downstream asset begins first and waits ``awaited``; an
edge may have a label besides, such as the branch of a router, and an asset a note.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, TypeAlias, get_args

from flowstone.core.dag import Dag, EdgeKind
from flowstone.core.errors import InvalidOptionError

Format: TypeAlias = Literal["ascii", "mermaid", "dot", "json"]

Labels: TypeAlias = Mapping[tuple[str, str], str]

DEEPEST = 50
"""Levels of a tree for the terminal; what is deeper begins a new tree at the margin."""

_MARKS = {
    EdgeKind.REQUIRED: "",
    EdgeKind.OPTIONAL: "optional",
    EdgeKind.ORDER: "after",
    EdgeKind.AWAITED: "awaited",
    EdgeKind.AWAITED_OPTIONAL: "awaited, optional",
}


def render(
    dag: Dag,
    names: Collection[str] | None = None,
    *,
    format: Format = "ascii",
    labels: Labels | None = None,
    notes: Mapping[str, str] | None = None,
) -> str:
    """
    Return the graph as text.

    Args:
        names: The assets to show, by full name, with what they directly depend on; None is all.
        labels: What edges are called, by the full names of their ends.
        notes: What there is to say of assets, by full name.

    Raises:
        InvalidOptionError: There is no such format.
    """
    drawing = _Drawing(dag, dag.nodes if names is None else names, labels or {}, notes or {})
    match format:
        case "ascii":
            return drawing.ascii()
        case "mermaid":
            return drawing.mermaid()
        case "dot":
            return drawing.dot()
        case "json":
            return drawing.json()
    raise InvalidOptionError(f"format={format!r} must be one of {', '.join(get_args(Format))}")


class _Drawing:
    def __init__(
        self, dag: Dag, names: Collection[str], labels: Labels, notes: Mapping[str, str]
    ) -> None:
        self._notes = notes
        self._called = labels
        chosen = set(names)
        shown = chosen.union(*(dag.upstream[name] for name in chosen))
        self._nodes = [name for name in dag.nodes if name in shown]
        is_one = len({name.partition(".")[0] for name in self._nodes}) <= 1
        self._labels = {name: name.partition(".")[2] if is_one else name for name in self._nodes}
        self._children = {
            name: {
                child: kind
                for child, kind in sorted(dag.downstream[name].items(), key=self._by_label)
                if child in chosen
            }
            for name in self._nodes
        }
        fed = {child for children in self._children.values() for child in children}
        self._roots = [name for name in self._nodes if name not in fed]

    def _by_label(self, child: tuple[str, EdgeKind]) -> str:
        return self._labels.get(child[0], child[0])

    def _edges(self) -> Iterator[tuple[str, str, EdgeKind, str]]:
        for name in self._nodes:
            for child, kind in self._children[name].items():
                yield name, child, kind, self._mark(name, child, kind)

    def _mark(self, name: str, child: str, kind: EdgeKind) -> str:
        return ", ".join(filter(None, (self._called.get((name, child)), _MARKS[kind])))

    def _noted(self, name: str, separator: str) -> str:
        note = self._notes.get(name)
        return f"{self._labels[name]}{separator}{note}" if note else self._labels[name]

    def ascii(self) -> str:
        noted = {name: self._noted(name, ": ") for name in self._nodes}
        marks = {(name, child): mark for name, child, _, mark in self._edges()}
        tree = _Tree(noted, self._children, marks)
        return "\n".join(line for root in self._roots for line in tree.lines(root))

    def mermaid(self) -> str:
        ids = {name: _mermaid_id(label) for name, label in self._labels.items()}
        lines = ["graph TD"]
        described = [
            name
            for name, identity in ids.items()
            if identity != self._labels[name] or name in self._notes
        ]
        for name in described:
            text = _mermaid_text(self._noted(name, "\n"))
            lines.append(f'{ids[name]}["{text}"]')
        for name, child, kind, mark in self._edges():
            arrow = "-.->" if _MARKS[kind] else "-->"
            if (name, child) in self._called:
                arrow += f'|"{_mermaid_text(mark)}"|'
            elif mark:
                arrow = f"-. {mark} .->"
            lines.append(f"{ids[name]} {arrow} {ids[child]}")
        joined = {end for name, child, *_ in self._edges() for end in (name, child)}
        lines += [ids[name] for name in self._nodes if name not in joined and name not in described]
        return "\n  ".join(lines)

    def dot(self) -> str:
        lines = ["digraph flowstone {"]
        for name in self._nodes:
            noted = f" [label={_quoted(self._noted(name, chr(10)))}]" if name in self._notes else ""
            lines.append(f"  {_quoted(self._labels[name])}{noted};")
        for name, child, kind, mark in self._edges():
            style = "dotted" if kind is EdgeKind.ORDER else "dashed"
            styled = f"style={style}, " if _MARKS[kind] else ""
            attributes = f" [{styled}label={_quoted(mark)}]" if mark else ""
            ends = f"{_quoted(self._labels[name])} -> {_quoted(self._labels[child])}"
            lines.append(f"  {ends}{attributes};")
        return "\n".join([*lines, "}"])

    def json(self) -> str:
        edges = []
        for name, child, kind, _ in self._edges():
            label = self._called.get((name, child))
            called = {} if label is None else {"label": label}
            edges.append({"upstream": name, "downstream": child, "kind": kind.value, **called})
        graph: dict[str, object] = {"nodes": self._nodes, "edges": edges}
        if self._notes:
            graph["notes"] = {it: self._notes[it] for it in self._nodes if it in self._notes}
        return json.dumps(graph, indent=2, ensure_ascii=False)


class _Tree:
    """
    Indented lines, one for each edge.

    What an asset leads to is shown once, or a graph in which paths part and meet again would have
    as many lines as paths.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        children: Mapping[str, dict[str, EdgeKind]],
        marks: Labels,
    ) -> None:
        self._labels = labels
        self._children = children
        self._marks = marks
        self._expanded: set[str] = set()

    def lines(self, root: str) -> Iterator[str]:
        roots = [root]
        for number, place in enumerate(roots):
            continued = " (continued)" if number else ""
            yield f"{self._labels[place]}{continued}"
            self._expanded.add(place)
            yield from self._below(place, roots)

    def _below(self, place: str, roots: list[str]) -> Iterator[str]:
        """Yield the lines below; what is too deep is added to the roots."""
        path = [(self._entries(place), "")]
        while path:
            entries, indent = path[-1]
            entry = next(entries, None)
            if entry is None:
                path.pop()
                continue
            name, said, is_last = entry
            mark = f" ({said})" if said else ""
            note = ""
            if self._children[name]:
                if name in self._expanded:
                    note = " (see above)"
                elif len(path) == DEEPEST:
                    note = " (continued below)"
                    self._expanded.add(name)
                    roots.append(name)
                else:
                    self._expanded.add(name)
                    path.append((self._entries(name), indent + ("    " if is_last else "│   ")))
            yield f"{indent}{'└── ' if is_last else '├── '}{self._labels[name]}{mark}{note}"

    def _entries(self, name: str) -> Iterator[tuple[str, str, bool]]:
        children = self._children[name]
        last = next(reversed(children), None)
        return ((child, self._marks[name, child], child == last) for child in children)


_MERMAID_WORDS = re.compile(
    r"(call|class|classDef|click|default|direction|end|flowchart|graph|href|interpolate|linkStyle"
    r"|style|subgraph)\b",
    re.IGNORECASE,
)
"""Words of Mermaid's own, which a node cannot be called or begin with."""


def _mermaid_id(label: str) -> str:
    if label.isascii() and not _MERMAID_WORDS.match(label):
        return label
    return "_." + "".join(letter if letter.isascii() else f"{ord(letter):x}." for letter in label)


def _mermaid_text(text: str) -> str:
    return text.replace('"', "#quot;").replace("\n", "<br>")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
