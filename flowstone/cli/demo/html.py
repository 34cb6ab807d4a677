"""
The report as one HTML file: nothing is fetched from anywhere, and every text is escaped.

The page forbids the browser to load anything (Content-Security-Policy), so that a report about a
hostile environment is as harmless as any other.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from flowstone.cli.demo.graph_drawing import drawing, drawn
from flowstone.cli.demo.licenses import FAMILIES, UNKNOWN
from flowstone.cli.demo.markup import Content, Html, bar, element, join, section, stacked, table
from flowstone.cli.demo.records import License, Report, Surprise, Weight
from flowstone.cli.demo.wording import count, listing, milliseconds, share, size

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_VERDICTS = {
    "intact": ("good", "✓ intact"),
    "damaged": ("bad", "✕ not intact"),
    "unmet": ("warn", "! requirements unmet"),
    "unknown": ("muted", "? not known"),
}
_LEVELS = {"alarm": "bad", "notice": "warn", "fact": "info"}
_FAMILY_KINDS = dict(zip(FAMILIES, ("good", "info", "warn", "other", "muted"), strict=True))
_STATES = {"intact": "good", "damaged": "bad", "unmet": "warn"}


def render(report: Report, rows: Sequence[Mapping[str, object]]) -> str:
    """
    The page.

    Args:
        rows: The state of the run that made the report, as SQL shows it: one mapping per asset, all
            with the same keys, which become the headings.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{report.headline} — FlowStone"),
        element("style", Html(_style())),
    )
    body = element(
        "body",
        _opening(report),
        element(
            "main",
            _cards(report),
            _surprises(report),
            _intact(report),
            _room(report),
            _needs(report),
            _licenses(report),
            _nobodys(report),
            _starts(report),
            _everything(report),
            _run(rows),
        ),
        element(
            "footer",
            "Made by ",
            element("code", "flowstone demo"),
            ": a pipeline of assets, run durably on Postgres.",
        ),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _style() -> str:
    return files("flowstone.cli.demo").joinpath("report.css").read_text(encoding="utf-8")


def _opening(report: Report) -> Html:
    kind, word = _VERDICTS[report.verdict]
    python = report.interpreter
    facts = (
        f"{python.implementation} {python.version}",
        python.platform,
        python.prefix,
        f"checked {report.verification.checked_at}",
    )
    return element(
        "header",
        element("p", "FlowStone · what is in this Python environment", class_="over"),
        element("p", element("span", word, class_=f"pill {kind}")),
        element("h1", report.headline),
        element("p", report.answer, class_="answer"),
        element("p", *(element("span", fact) for fact in facts), class_="facts"),
    )


def _cards(report: Report) -> Html:
    total = report.verification.total
    cards = [
        (f"{len(report.rows):,}", "distributions", ""),
        (f"{total.total:,}", "recorded files", ""),
        (f"{total.damaged:,}", "not as installed", "bad" if total.damaged else "good"),
        (
            f"{len(report.graph.unmet):,}",
            "unmet requirements",
            "bad" if report.graph.unmet else "good",
        ),
        (size(report.largest.size), "on the disk", ""),
    ]
    if report.unowned is not None:
        kind = "warn" if report.unowned.file_count else "good"
        cards.append((f"{report.unowned.file_count:,}", "files of nobody", kind))
    if report.startup is not None:
        cards.append((milliseconds(report.startup.with_site_us), "to start Python", ""))
    made = [
        element("div", element("b", number, class_=kind), element("span", label), class_="card")
        for number, label, kind in cards
    ]
    return element("div", *made, class_="cards")


def _surprises(report: Report) -> Html:
    if not report.surprises:
        said = element("p", "Nothing. That is rare.", class_="none")
        return section("What may surprise you", said)
    return section("What may surprise you", *(_surprise(each) for each in report.surprises))


def _surprise(surprise: Surprise) -> Html:
    examples = element("ul", *(element("li", element("code", each)) for each in surprise.examples))
    return element(
        "article",
        element("h3", surprise.title),
        element("p", surprise.detail),
        *((examples,) if surprise.examples else ()),
        class_=f"surprise {_LEVELS[surprise.level]}",
    )


def _intact(report: Report) -> Html:
    total = report.verification.total
    parts = [
        ("as installed", total.ok, "good"),
        ("changed", total.changed, "bad"),
        ("missing", total.missing, "bad"),
        ("unreadable", total.unreadable, "warn"),
        ("without a recorded hash", total.unhashed, "muted"),
    ]
    findings = report.verification.findings
    found = table(
        ("Distribution", "File", "What", "How it differs"),
        [(each.owner, _code(each.path), each.problem, each.detail) for each in findings],
        empty="No recorded file differs from what was installed.",
    )
    kept = len(findings), total.damaged + total.unreadable
    more = element("p", f"The first {kept[0]:,} of {kept[1]:,}.", class_="note")
    reached = table(
        ("Distribution", "What is wrong", "What rests on it"),
        [
            (each.name, "; ".join(each.reasons), listing(each.dependents, 12) or "nothing")
            for each in report.affected.unsound
        ],
    )
    return section(
        "Is it intact?",
        stacked(parts),
        found,
        *((more,) if kept[0] < kept[1] else ()),
        *((element("h3", "What that reaches"), reached) if report.affected.unsound else ()),
        note="Every file that an installer recorded, read and compared with its recorded hash. "
        "Compiled bytecode is left out: Python writes it anew at will.",
    )


def _room(report: Report) -> Html:
    largest = report.largest
    return section(
        "What takes the room?",
        element(
            "div",
            element(
                "div",
                element("h3", "Distributions"),
                _weights(largest.distributions[:12], largest.size),
            ),
            element(
                "div", element("h3", "Kinds of files"), _weights(largest.kinds[:12], largest.size)
            ),
            class_="columns",
        ),
        element("h3", "The largest files"),
        table(
            ("File", "Distribution", ">Size"),
            [(_code(each.name), each.owner, size(each.size)) for each in largest.files],
            empty="There are none.",
        ),
    )


def _weights(weights: Sequence[Weight], whole: int) -> Html:
    longest = max((each.size for each in weights), default=0)
    return table(
        ("", "", ">Size", ">Share", ">Files"),
        [
            (
                each.name,
                bar(each.size, longest),
                size(each.size),
                share(each.size, whole),
                f"{each.file_count:,}",
            )
            for each in weights
        ],
        empty="There are none.",
    )


def _needs(report: Report) -> Html:
    graph = report.graph
    picture = drawing(graph, (each.name for each in report.affected.unsound))
    shown, every = len(drawn(graph)), len(graph.requires)
    top = graph.most_required[:12]
    most = table(
        ("", "", ">Directly", ">In all"),
        [(each.name, bar(each.total, top[0].total), each.direct, each.total) for each in top],
        empty="Nothing needs anything.",
    )
    unmet = table(
        ("Distribution", "Needs", "Found"),
        [(each.source, _code(each.text), each.found or "nothing") for each in graph.unmet],
    )
    facts = [
        ("Needed by no other", ", ".join(graph.roots)),
        ("The longest chain", " → ".join(graph.longest_chain)),
        ("Need one another", "; ".join(" ⇄ ".join(group) for group in graph.cycles)),
    ]
    told = [join((element("dt", term), element("dd", text))) for term, text in facts if text]
    return section(
        "What needs what?",
        picture,
        *((element("h3", "Not met"), unmet) if graph.unmet else ()),
        element("h3", "What the most rests on"),
        most,
        element("dl", *told),
        note=f"{shown:,} of {count(every, 'distribution')} need others or are needed; the needed "
        "are to the right. Point at one to see what it needs and what needs it. "
        f"{count(graph.optional_count, 'requirement')} of extras nobody asked for left out.",
    )


def _licenses(report: Report) -> Html:
    families = report.licenses.families
    parts = [(family, families[family], _FAMILY_KINDS[family]) for family in FAMILIES]
    entries = sorted(report.licenses.entries, key=lambda each: -FAMILIES.index(each.family))
    every = table(
        ("Distribution", "License", "Family", "Read from"),
        [(each.owner, each.license or "—", _family(each), each.evidence) for each in entries],
    )
    listed = element("details", element("summary", f"All {len(entries):,}, strictest first"), every)
    return section(
        "What may be done with it?",
        stacked(parts),
        listed,
        note="Sorted by what the metadata says; it is no legal advice.",
    )


def _family(entry: License) -> Html:
    kind = _FAMILY_KINDS[entry.family] if entry.family != UNKNOWN else "muted"
    return element("span", entry.family, class_=f"tag {kind}")


def _nobodys(report: Report) -> Html:
    if report.unowned is None:
        said = "Not looked for: no installer recorded what it put into these folders."
        return section("What belongs to nobody?", element("p", said, class_="none"))
    listed = table(
        ("In the site folder", ">Files", ">Size"),
        [
            (_code(each.name), f"{each.file_count:,}", size(each.size))
            for each in report.unowned.groups
        ],
        empty="Every file but bytecode belongs to a distribution.",
    )
    return section("What belongs to nobody?", listed)


def _starts(report: Report) -> Html:
    startup = report.startup
    if startup is None:
        said = element("p", "Not measured: this Python could not be started.", class_="none")
        return section("What happens whenever Python starts?", said)
    listed = table(
        ("File", "Runs", "Adds to the path"),
        [
            (_code(each.name), _codes(each.code) or "—", _codes(each.folders) or "—")
            for each in startup.files
        ],
        empty="There are no .pth files.",
    )
    with_site, without = milliseconds(startup.with_site_us), milliseconds(startup.without_site_us)
    note = f"A start takes {with_site}, without the site folders {without} (medians)."
    return section("What happens whenever Python starts?", listed, note=note)


def _everything(report: Report) -> Html:
    rows: list[Sequence[Content]] = [
        (
            join((element("b", row.name), " ", row.version)),
            row.summary,
            row.license or "—",
            f"{row.file_count:,}",
            size(row.size),
            row.required_by,
            element("span", row.state, class_=f"tag {_STATES.get(row.state, 'muted')}"),
        )
        for row in report.rows
    ]
    headings = ("Distribution", "", "License", ">Files", ">Size", ">Needed by", "State")
    return section("Everything that is installed", table(headings, rows, empty="Nothing."))


def _run(rows: Sequence[Mapping[str, object]]) -> Html:
    headings = list(rows[0]) if rows else []
    cells = [["" if row[name] is None else str(row[name]) for name in headings] for row in rows]
    made = table(headings, cells, empty="No rows were given.")
    return section("How this was made", made, note="The state of the run, as SQL shows it.")


def _code(text: str) -> Html:
    return element("code", text)


def _codes(lines: Sequence[str]) -> Html:
    return join(element("div", _code(line)) for line in lines)
