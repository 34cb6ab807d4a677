import json
import re
from typing import Any, ClassVar

import pytest

from flowstone.core.dag import Dag, EdgeKind
from flowstone.core.errors import InvalidOptionError
from flowstone.core.graph import DEEPEST, render

REQUIRED, OPTIONAL, ORDER, AWAITED, AWAITED_OPTIONAL = EdgeKind


def dag(**upstream: str) -> Dag:
    """
    Return assets of a pipeline ``p`` from words: ``c="a b"`` is c depending on a and b.

    ``?`` before a name makes the edge optional, ``!`` order only, ``&`` awaited, ``*`` both.
    """
    marks = {"?": OPTIONAL, "!": ORDER, "&": AWAITED, "*": AWAITED_OPTIONAL}
    return Dag(
        {
            f"p.{name}": {
                f"p.{other.lstrip('?!&*')}": marks.get(other[0], REQUIRED)
                for other in others.split()
            }
            for name, others in upstream.items()
        }
    )


BASIC = dag(greeting="", numbers="", doubled="numbers", total="doubled")
MIXED = dag(raw="", end="raw", soft="?raw", late="!end soft", alone="")


class TestAscii:
    @pytest.mark.conformance(157)
    def test_a_chain(self) -> None:
        chain = dag(raw="", processed="raw", output="processed")

        assert render(chain) == "raw\n└── processed\n    └── output"

    @pytest.mark.conformance(163)
    def test_siblings_are_sorted_by_name(self) -> None:
        tree = dag(root="", b="root", c="b", a="root")

        assert render(tree) == "root\n├── a\n└── b\n    └── c"

    def test_roots_keep_the_order_of_definition(self) -> None:
        assert render(dag(z="", a="", m="z")) == "z\n└── m\na"

    def test_the_line_goes_on_beside_what_is_below(self) -> None:
        assert render(dag(r="", a="r", b="a", z="r")) == "r\n├── a\n│   └── b\n└── z"

    def test_kinds_of_edges_are_marked(self) -> None:
        assert render(MIXED) == (
            "raw\n├── end\n│   └── late (after)\n└── soft (optional)\n    └── late\nalone"
        )

    def test_what_is_awaited_is_marked(self) -> None:
        assert render(dag(a="", b="", p="&a *b")) == (
            "a\n└── p (awaited)\nb\n└── p (awaited, optional)"
        )

    def test_what_is_below_an_asset_is_shown_once(self) -> None:
        diamond = dag(top="", left="top", right="top", bottom="left right", leaf="bottom")

        assert render(diamond) == (
            "top\n├── left\n│   └── bottom\n│       └── leaf\n└── right\n    └── bottom (see above)"
        )

    def test_diamonds_upon_diamonds_have_a_line_for_each_edge(self) -> None:
        layers = {
            f"{side}{n}": f"a{n - 1} b{n - 1}" if n else "" for n in range(40) for side in "ab"
        }

        lines = render(dag(**layers)).splitlines()

        assert len(lines) == 2 + 39 * 4

    def test_what_is_very_deep_begins_again_at_the_margin(self) -> None:
        names = [f"n{number:04}" for number in range(5000)]
        chain = dag(
            **{name: names[number - 1] if number else "" for number, name in enumerate(names)}
        )

        lines = render(chain).splitlines()

        assert lines[DEEPEST].endswith(f"└── n{DEEPEST:04} (continued below)")
        assert lines[DEEPEST + 1] == f"n{DEEPEST:04} (continued)"
        assert {re.findall(r"n\d+", line)[0] for line in lines} == set(names)

    def test_nothing_is_nothing(self) -> None:
        assert render(dag()) == ""


class TestMermaid:
    @pytest.mark.conformance(158)
    def test_there_is_a_line_for_each_edge(self) -> None:
        assert render(BASIC, format="mermaid") == (
            "graph TD\n  numbers --> doubled\n  doubled --> total\n  greeting"
        )

    def test_kinds_of_edges_look_different(self) -> None:
        lines = render(MIXED, format="mermaid").splitlines()

        assert "  raw -. optional .-> soft" in lines
        assert "  soft --> late" in lines
        assert "  alone" in lines

    def test_names_that_mermaid_would_misread_are_quoted(self) -> None:
        lines = render(
            dag(end="", graph="end", été="", ending="end"), format="mermaid"
        ).splitlines()

        assert lines[0] == "graph TD"
        assert '  _.end["end"]' in lines
        assert "  _.end --> _.graph" in lines
        assert "  _.end --> ending" in lines
        assert any(line.endswith('["été"]') for line in lines)


class TestDot:
    @pytest.mark.conformance(166)
    def test_it_is_a_digraph_with_every_asset_and_edge(self) -> None:
        assert render(BASIC, format="dot") == (
            "digraph flowstone {\n"
            '  "greeting";\n'
            '  "numbers";\n'
            '  "doubled";\n'
            '  "total";\n'
            '  "numbers" -> "doubled";\n'
            '  "doubled" -> "total";\n'
            "}"
        )

    def test_kinds_of_edges_look_different(self) -> None:
        text = render(MIXED, format="dot")

        assert '"raw" -> "soft" [style=dashed, label="optional"];' in text
        assert '"end" -> "late" [style=dotted, label="after"];' in text


class TestJson:
    def test_it_has_full_names_and_kinds(self) -> None:
        drawn = json.loads(render(dag(a="", b="a", c="?a !b"), format="json"))

        assert drawn == {
            "nodes": ["p.a", "p.b", "p.c"],
            "edges": [
                {"upstream": "p.a", "downstream": "p.b", "kind": "required"},
                {"upstream": "p.a", "downstream": "p.c", "kind": "optional"},
                {"upstream": "p.b", "downstream": "p.c", "kind": "order"},
            ],
        }


@pytest.mark.conformance(156)
@pytest.mark.parametrize("format", ["ascii", "mermaid", "dot", "json"])
def test_every_format_names_every_asset(format: Any) -> None:
    text = render(BASIC, format=format)

    assert all(name in text for name in ("greeting", "numbers", "doubled", "total"))
    assert text == render(BASIC, format=format)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError, match="'svg' must be one of ascii, mermaid, dot, json"):
        render(BASIC, format="svg")  # type: ignore[arg-type]  # that it is refused is the test


class TestAPartOfTheGraph:
    WHOLE = Dag(
        {
            "raw.orders": {},
            "raw.other": {},
            "sales.report": {"raw.orders": REQUIRED},
            "sales.mail": {"sales.report": REQUIRED},
            "hr.people": {"sales.report": REQUIRED},
        }
    )

    def test_what_it_directly_depends_on_is_shown_with_it(self) -> None:
        text = render(self.WHOLE, ["sales.report", "sales.mail"])

        assert text == "raw.orders\n└── sales.report\n    └── sales.mail"

    def test_several_pipelines_are_told_apart_by_full_names(self) -> None:
        assert "  raw.orders --> sales.report" in render(self.WHOLE, format="mermaid")

    def test_one_pipelines_names_are_short(self) -> None:
        assert render(self.WHOLE, ["raw.orders", "raw.other"]) == "orders\nother"


class TestLabelsAndNotes:
    """What edges are called, and what there is to say of assets."""

    graph = dag(kind="", square="kind", place="?kind", region="?square")
    labels: ClassVar = {("p.kind", "p.square"): 'the "square" one', ("p.kind", "p.place"): "place"}
    notes: ClassVar = {"p.kind": "succeeded square", "p.place": "skipped"}

    def drawn(self, format: Any) -> str:
        return render(self.graph, format=format, labels=self.labels, notes=self.notes)

    def test_in_a_terminal(self) -> None:
        assert self.drawn("ascii") == (
            "kind: succeeded square\n"
            "├── place: skipped (place, optional)\n"
            '└── square (the "square" one)\n'
            "    └── region (optional)"
        )

    def test_for_mermaid(self) -> None:
        assert self.drawn("mermaid").splitlines() == [
            "graph TD",
            '  kind["kind<br>succeeded square"]',
            '  place["place<br>skipped"]',
            '  kind -.->|"place, optional"| place',
            '  kind -->|"the #quot;square#quot; one"| square',
            "  square -. optional .-> region",
        ]

    def test_for_graphviz(self) -> None:
        lines = self.drawn("dot").splitlines()

        assert '  "kind" [label="kind\\nsucceeded square"];' in lines
        assert '  "square";' in lines
        assert '  "kind" -> "square" [label="the \\"square\\" one"];' in lines
        assert '  "kind" -> "place" [style=dashed, label="place, optional"];' in lines

    def test_for_machines(self) -> None:
        document = json.loads(self.drawn("json"))

        assert document["edges"][0] == {
            "upstream": "p.kind",
            "downstream": "p.place",
            "kind": "optional",
            "label": "place",
        }
        assert "label" not in document["edges"][-1]
        assert document["notes"] == self.notes
