import re
from collections.abc import Mapping
from html.parser import HTMLParser

import pytest

from flowstone.cli.demo import graph_drawing
from flowstone.cli.demo.dependency_graph import graph_of
from flowstone.cli.demo.graph_drawing import drawing, drawn
from flowstone.cli.demo.html import render
from flowstone.cli.demo.markup import Html, element, stacked, table
from flowstone.cli.demo.records import Startup, StartupFile
from tests.cli.demo.made_environment import MadeEnvironment

ROWS: list[Mapping[str, object]] = [
    {"asset": "environment.files", "status": "succeeded", "took": "0.2 s", "waits for": None},
    {"asset": "environment.report", "status": "running", "took": None, "waits for": 3},
]
STARTUP = Startup((StartupFile("x.pth", ("import x",), ("../src",)),), 15_000, 12_000)


class Page(HTMLParser):
    """Elements, attributes and text; refuses a page whose elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hurt(made: MadeEnvironment) -> MadeEnvironment:
    """An environment with something of everything."""
    made.install("low", files={"low/a.py": b"1"}, headers=["License: GPL"])
    made.install("high", requires=["low>=2", "absent"], headers=["License: MIT"])
    made.install("blank", beside={"METADATA": b""})
    made.write("low/a.py", b"2")
    made.write("stray.py")
    return made


class TestThePage:
    def test_is_closed_and_says_the_answer(self, hurt: MadeEnvironment) -> None:
        report = hurt.report(STARTUP)

        page = Page(render(report, ROWS))

        assert report.headline in page.text
        assert "same size, other content" in page.text
        assert "environment.report" in page.text
        assert "None" not in page.text

    def test_fetches_nothing(self, hurt: MadeEnvironment) -> None:
        text = render(hurt.report(STARTUP), ROWS)
        page = Page(text)

        assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(page.tags)
        assert not {"src", "href", "srcset", "action"} & {name for name, _ in page.attributes}
        assert not re.search(r"@import|url\(", text)
        assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes

    def test_escapes_everything_from_the_environment(self, made: MadeEnvironment) -> None:
        evil = "<script>alert(1)</script>"
        made.install(
            "thing",
            files={f"{evil[:7]}.py": b"1"},
            headers=[f"Summary: {evil}", f"License: {evil}"],
            requires=[evil],
            beside={"METADATA": f"Name: {evil}\nVersion: {evil}\nLicense: {evil}\n".encode()},
        )
        made.write(f'"{evil[:7]}"&.txt')
        startup = Startup((StartupFile(evil, (evil,), (evil,)),), 1, 1)

        text = render(made.report(startup), [{evil: evil}])

        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert Page(text).text.count(evil) > 5

    def test_says_so_where_there_is_nothing(self, made: MadeEnvironment) -> None:
        page = Page(render(made.report(), []))

        assert "Nothing here could be checked" in page.text
        assert "Not looked for" in page.text
        assert "Not measured" in page.text
        assert "svg" not in page.tags


class TestAnElement:
    def test_escapes_text_and_keeps_markup(self) -> None:
        assert element("p", "a<b", element("b", 1), class_='x"y', data_kind="") == (
            '<p class="x&quot;y">a&lt;b<b>1</b></p>'
        )

    def test_of_a_void_kind_has_no_end(self) -> None:
        assert element("meta", charset="utf-8") == '<meta charset="utf-8">'

    def test_that_is_a_table_sets_numbers_to_the_right(self) -> None:
        text = table(("Name", ">Size"), [("a", 1)])

        assert '<td class="number">1</td>' in text
        assert table(("Name",), [], empty="none") == '<p class="none">none</p>'

    def test_that_is_a_bar_leaves_out_what_is_not_there(self) -> None:
        assert "nothing" not in stacked([("some", 3, "good"), ("nothing", 0, "bad")])


class TestTheDrawing:
    def test_has_a_box_for_each_that_is_connected_and_a_line_for_each_need(
        self, made: MadeEnvironment
    ) -> None:
        made.install("app", requires=["web", "text"])
        made.install("web", requires=["text"])
        made.install("text", requires=["web"])
        made.install("alone")
        graph = graph_of(made.distributions())

        picture = Page(drawing(graph, ["web"]))

        assert drawn(graph) == ("text", "web", "app")
        assert picture.tags.count("rect") == 3
        assert picture.tags.count("path") == 4
        assert sum(1 for name, value in picture.attributes if value.endswith(" bad")) == 1

    def test_is_limited_to_the_best_connected(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(graph_drawing, "MOST_DRAWN", 2)
        made.install("a", requires=["b", "c"])
        made.install("b", requires=["c"])
        made.install("c")

        assert drawing(graph_of(made.distributions())).count("<rect") == 2

    def test_of_nothing_is_nothing(self, made: MadeEnvironment) -> None:
        assert drawing(graph_of(made.distributions())) == Html("")
