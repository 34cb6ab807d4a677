"""The report: is this environment intact, and what would surprise its owner?"""

from flowstone.cli.demo.records import (
    Affected,
    DependencyGraph,
    Distribution,
    DistributionRow,
    Installed,
    Largest,
    Licenses,
    Report,
    Startup,
    Unowned,
    Verification,
)
from flowstone.cli.demo.surprises import surprises
from flowstone.cli.demo.wording import count, duration, size

INTACT = "intact"
DAMAGED = "damaged"
UNMET = "unmet"
UNKNOWN = "unknown"


def answer(
    *,
    installed: Installed,
    verification: Verification,
    graph: DependencyGraph,
    licenses: Licenses,
    largest: Largest,
    affected: Affected,
    unowned: Unowned | None,
    startup: Startup | None,
) -> Report:
    """Join everything that was found, worst first."""
    verdict = _verdict(verification, graph)
    found = surprises(
        installed=installed,
        verification=verification,
        graph=graph,
        licenses=licenses,
        largest=largest,
        affected=affected,
        unowned=unowned,
        startup=startup,
    )
    return Report(
        verdict=verdict,
        headline=_headline(verdict, verification, graph),
        answer=_answer(installed, verification, affected, unowned),
        interpreter=installed.interpreter,
        sites=installed.sites,
        surprises=found,
        rows=_rows(installed, verification, graph, licenses, largest),
        verification=verification,
        graph=graph,
        licenses=licenses,
        largest=largest,
        affected=affected,
        unowned=unowned,
        startup=startup,
    )


def _verdict(verification: Verification, graph: DependencyGraph) -> str:
    if verification.total.damaged:
        return DAMAGED
    if graph.unmet:
        return UNMET
    return INTACT if verification.total.ok else UNKNOWN


def _headline(verdict: str, verification: Verification, graph: DependencyGraph) -> str:
    total = verification.total
    if verdict == INTACT:
        return f"This environment is intact: {count(total.ok, 'file')} checked, none differs."
    if verdict == UNMET:
        needs = count(len(graph.unmet), "requirement is", "requirements are")
        return f"Every checked file is as it was installed, but {needs} not met."
    if verdict == UNKNOWN:
        return "Nothing here could be checked: no installer recorded a hash."
    hit = sum(1 for tally in verification.tallies.values() if tally.damaged)
    parts = [
        count(total.changed, "file has", "files have") + " changed" if total.changed else "",
        count(total.missing, "file is", "files are") + " missing" if total.missing else "",
    ]
    told = " and ".join(part for part in parts if part)
    return f"This environment is not intact: {told}, in {count(hit, 'distribution')}."


def _answer(
    installed: Installed,
    verification: Verification,
    affected: Affected,
    unowned: Unowned | None,
) -> str:
    total = verification.total
    distributions = count(len(installed.distributions), "distribution")
    files, read = count(total.total, "file"), size(verification.hashed_bytes)
    took = duration(verification.took_ms)
    sentences = [f"{distributions} recorded {files}; {read} were hashed in {took}."]
    if affected.unsound:
        sentences.append(f"What is wrong reaches {affected.reached:,} of {distributions}.")
    if unowned is not None and unowned.file_count:
        sentences.append(f"{count(unowned.file_count, 'file belongs', 'files belong')} to nobody.")
    return " ".join(sentences)


def _rows(
    installed: Installed,
    verification: Verification,
    graph: DependencyGraph,
    licenses: Licenses,
    largest: Largest,
) -> tuple[DistributionRow, ...]:
    licensed = {entry.owner: entry for entry in licenses.entries}
    weights = {weight.name: weight for weight in largest.distributions}
    required_by = {each.name: each.direct for each in graph.most_required}
    rows = []
    for each in installed.distributions:
        license_, weight = licensed.get(each.label), weights.get(each.label)
        rows.append(
            DistributionRow(
                name=each.name,
                version=each.version,
                summary=each.summary,
                license=license_.license if license_ else "",
                family=license_.family if license_ else "",
                file_count=weight.file_count if weight else 0,
                size=weight.size if weight else 0,
                required_by=0 if each.is_shadowed else required_by.get(each.name, 0),
                state=_state(each, verification, graph),
            )
        )
    return tuple(rows)


def _state(each: Distribution, verification: Verification, graph: DependencyGraph) -> str:
    tally = verification.tallies.get(each.label)
    if tally is not None and tally.damaged:
        return DAMAGED
    if each.is_shadowed:
        return "shadowed"
    if any(requirement.source == each.name for requirement in graph.unmet):
        return UNMET
    return INTACT if tally is not None and tally.ok else "unchecked"
