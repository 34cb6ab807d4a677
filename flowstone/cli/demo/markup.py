"""HTML that cannot be wrong by accident: text is escaped unless it was made by ``element``."""

from collections.abc import Iterable, Sequence
from html import escape

_VOID = frozenset({"br", "col", "hr", "img", "link", "meta"})


class Html(str):
    """Markup. Any other text is content, and is escaped where it meets markup."""

    __slots__ = ()


Content = Html | str | int


def element(tag: str, *children: Content, **attributes: str | int) -> Html:
    """
    One element.

    Args:
        attributes: A trailing underscore is dropped (``class_``), others become dashes; an empty
            one is left out.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value != ""
    )
    return Html(f"<{tag}{named}>" if tag in _VOID else f"<{tag}{named}>{join(children)}</{tag}>")


def join(children: Iterable[Content]) -> Html:
    """Content side by side."""
    return Html("".join(_escaped(child) for child in children))


def section(title: str, *children: Content, note: str = "") -> Html:
    """A part of the page under its heading."""
    told = (element("p", note, class_="note"),) if note else ()
    return element("section", element("h2", title), *told, *children)


def table(headings: Sequence[str], rows: Iterable[Sequence[Content]], *, empty: str = "") -> Html:
    """
    A table that scrolls within itself on a small screen.

    Args:
        headings: One that begins with ">" stands over numbers, which are set to the right.
        empty: What is said instead of a table without rows.
    """
    lines = [list(row) for row in rows]
    if not lines:
        return element("p", empty, class_="none")
    right = [heading.startswith(">") for heading in headings]
    head = [
        element("th", heading.removeprefix(">"), scope="col", class_=_number(at_right))
        for heading, at_right in zip(headings, right, strict=True)
    ]
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=_number(at_right))
                for cell, at_right in zip(row, right, strict=True)
            ),
        )
        for row in lines
    ]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", whole, class_="scroll")


def bar(part: int, whole: int) -> Html:
    """A bar as long as a part is of the whole."""
    percent = 100 * part / whole if whole else 0
    filled = element("i", style=f"width:{percent:.2f}%")
    return element("span", filled, class_="bar", aria_hidden="true")


def stacked(parts: Sequence[tuple[str, int, str]]) -> Html:
    """Parts of a whole in one bar with their legend: (name, amount, kind), none of zero."""
    shown = [part for part in parts if part[1]]
    pieces = [
        element("i", class_=kind, style=f"flex-grow:{amount}", title=f"{name}: {amount:,}")
        for name, amount, kind in shown
    ]
    legend = [
        element("li", element("i", class_=kind), f"{name} ", element("b", f"{amount:,}"))
        for name, amount, kind in shown
    ]
    return join(
        (
            element("div", *pieces, class_="stacked", aria_hidden="true"),
            element("ul", *legend, class_="legend"),
        )
    )


def _number(at_right: bool) -> str:
    return "number" if at_right else ""


def _escaped(child: Content) -> str:
    return child if isinstance(child, Html) else escape(str(child))
