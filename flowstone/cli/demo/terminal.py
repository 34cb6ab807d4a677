"""The report on a terminal: the answer first, then what it rests on, in at most 100 columns."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flowstone.cli.demo.licenses import FAMILIES
from flowstone.cli.demo.records import Report, Surprise, Weight
from flowstone.cli.demo.wording import count, listing, milliseconds, share, size

MOST_COLUMNS = 100

_COLORS = {"intact": "green", "damaged": "red", "unmet": "yellow", "unknown": "bright_black"}
_SIGNS = {"alarm": ("✕", "red"), "notice": ("▲", "yellow"), "fact": ("●", "blue")}
_FAMILY_COLORS = dict(
    zip(FAMILIES, ("green", "blue", "yellow", "magenta", "bright_black"), strict=True)
)
_MOST_FINDINGS = 10


def render(report: Report, console: Console) -> None:
    """Print the report; text that came from the environment is never taken as markup."""
    width = min(console.width, MOST_COLUMNS)
    for part in _parts(report):
        console.print(part, width=width)
        console.print()


def _parts(report: Report) -> Iterator[RenderableType]:
    yield _opening(report)
    yield _numbers(report)
    if report.verification.findings:
        yield _findings(report)
    if report.surprises:
        yield _titled("What may surprise you", *(_surprise(each) for each in report.surprises))
    yield _side_by_side(
        _titled(
            "What takes the room", _weights(report.largest.distributions[:8], report.largest.size)
        ),
        _titled("What the most rests on", _most_required(report)),
    )
    yield _titled("The largest files", _largest_files(report))
    yield _titled("Licenses", _license_bar(report))


def _opening(report: Report) -> Panel:
    python = report.interpreter
    color = _COLORS[report.verdict]
    facts = (
        f"{python.implementation} {python.version} · {python.platform} · {python.prefix}",
        f"checked {report.verification.checked_at}",
    )
    return Panel(
        Group(
            Text(report.headline, style=f"bold {color}"),
            Text(report.answer),
            *(Text(fact, style="dim", overflow="fold") for fact in facts),
        ),
        border_style=color,
        padding=(0, 2),
    )


def _numbers(report: Report) -> Table:
    total = report.verification.total
    unmet = len(report.graph.unmet)
    numbers = [
        (f"{len(report.rows):,}", "distributions", ""),
        (f"{total.total:,}", "recorded files", ""),
        (f"{total.damaged:,}", "not as installed", "red" if total.damaged else "green"),
        (f"{unmet:,}", "unmet needs", "red" if unmet else "green"),
        (size(report.largest.size), "on the disk", ""),
    ]
    if report.unowned is not None:
        color = "yellow" if report.unowned.file_count else "green"
        numbers.append((f"{report.unowned.file_count:,}", "of nobody", color))
    if report.startup is not None:
        numbers.append((milliseconds(report.startup.with_site_us), "to start", ""))
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in numbers:
        grid.add_column(justify="center")
    grid.add_row(*(Text(number, style=f"bold {color}".strip()) for number, _, color in numbers))
    grid.add_row(*(Text(label, style="dim") for _, label, _ in numbers))
    return grid


def _findings(report: Report) -> RenderableType:
    total, findings = report.verification.total, report.verification.findings
    table = _table(("Distribution", "left"), ("File", "left"), ("What", "left"))
    table.columns[1].overflow = "fold"
    for each in findings[:_MOST_FINDINGS]:
        style = "yellow" if each.problem == "unreadable" else "red"
        what = f"{each.problem}: {each.detail}" if each.detail else each.problem
        table.add_row(Text(each.owner), Text(each.path), Text(what, style=style))
    rest = total.damaged + total.unreadable - min(len(findings), _MOST_FINDINGS)
    more = [Text(f"and {count(rest, 'file')} more", style="dim")] if rest > 0 else []
    reached = [
        Text(f"{each.name} is needed by {listing(each.dependents, 6)}", style="dim")
        for each in report.affected.unsound
        if each.dependents
    ]
    return _titled("Not as installed", table, *more, *reached[:_MOST_FINDINGS])


def _surprise(surprise: Surprise) -> RenderableType:
    sign, color = _SIGNS[surprise.level]
    lines = Table.grid(padding=(0, 1))
    lines.add_column()
    lines.add_column(overflow="fold")
    lines.add_row(Text(sign, style=color), Text(surprise.title, style="bold"))
    lines.add_row("", Text(surprise.detail, style="dim"))
    for example in surprise.examples:
        lines.add_row("", Text(f"· {example}", overflow="ellipsis", no_wrap=True))
    return lines


def _weights(weights: Sequence[Weight], whole: int) -> Table:
    table = _table(("", "left"), ("", "left"), ("size", "right"), ("share", "right"))
    longest = max((each.size for each in weights), default=0)
    for each in weights:
        bar = _bar(each.size, longest)
        table.add_row(Text(each.name), bar, Text(size(each.size)), Text(share(each.size, whole)))
    return table


def _most_required(report: Report) -> Table:
    table = _table(("", "left"), ("", "left"), ("directly", "right"), ("in all", "right"))
    top = report.graph.most_required[:8]
    for each in top:
        bar = _bar(each.total, top[0].total)
        table.add_row(Text(each.name), bar, Text(f"{each.direct:,}"), Text(f"{each.total:,}"))
    return table


def _largest_files(report: Report) -> Table:
    table = _table(("", "left"), ("", "left"), ("size", "right"))
    for each in report.largest.files[:5]:
        name = Text(each.name, overflow="ellipsis", no_wrap=True)
        table.add_row(name, Text(each.owner, style="dim"), Text(size(each.size)))
    return table


def _license_bar(report: Report) -> RenderableType:
    families = {name: number for name, number in report.licenses.families.items() if number}
    whole = sum(families.values())
    bar, legend = Text(), Text()
    for name, number in families.items():
        bar.append("━" * max(1, round(number / whole * 90)), style=_FAMILY_COLORS[name])
        legend.append("■ ", style=_FAMILY_COLORS[name]).append(f"{name} {number:,}   ")
    return Group(bar, legend)


def _titled(title: str, *content: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), *(Padding(each, (0, 0, 0, 2)) for each in content))


def _side_by_side(left: RenderableType, right: RenderableType) -> Table:
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    return grid


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading, justify in columns:
        table.add_column(
            heading,
            justify="right" if justify == "right" else "left",
            no_wrap=justify == "right",
            overflow="ellipsis",
        )
    return table


def _bar(part: int, whole: int) -> Text:
    return Text("━" * max(1, round(10 * part / whole)) if part else "", style="blue")
