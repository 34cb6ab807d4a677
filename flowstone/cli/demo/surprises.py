"""What the owner of an environment may not know about it, worst first."""

from collections.abc import Iterator, Sequence

from flowstone.cli.demo.licenses import STRONG, UNKNOWN
from flowstone.cli.demo.records import (
    Affected,
    DependencyGraph,
    Distribution,
    Installed,
    Largest,
    Licenses,
    Startup,
    Surprise,
    Unowned,
    Verification,
)
from flowstone.cli.demo.wording import count, listing, milliseconds, share, size

ALARM = "alarm"
NOTICE = "notice"
FACT = "fact"

LEVELS = (ALARM, NOTICE, FACT)

_MOST_EXAMPLES = 5


def surprises(
    *,
    installed: Installed,
    verification: Verification,
    graph: DependencyGraph,
    licenses: Licenses,
    largest: Largest,
    affected: Affected,
    unowned: Unowned | None,
    startup: Startup | None,
) -> tuple[Surprise, ...]:
    """Everything worth saying; nothing is said about what is as it should be."""
    found = [
        *_damage(verification, affected),
        *_requirements(graph),
        *_unclaimed(unowned),
        *_claims(verification),
        *_installation(installed),
        *_code_at_startup(startup),
        *_licenses(licenses),
        *_shape(graph),
        *_weight(largest),
    ]
    return tuple(sorted(found, key=lambda surprise: LEVELS.index(surprise.level)))


def _damage(verification: Verification, affected: Affected) -> Iterator[Surprise]:
    total = verification.total
    hurt = [name for name, tally in verification.tallies.items() if tally.damaged]
    if total.damaged:
        yield _surprise(
            ALARM,
            f"{count(total.damaged, 'file is', 'files are')} not what was installed",
            f"They are of {listing(hurt, 6)}. With what rests on those, "
            f"{count(affected.reached, 'distribution')} may misbehave; reinstalling mends it.",
            (),
        )
    if total.unreadable:
        unreadable = [each for each in verification.findings if each.problem == "unreadable"]
        yield _surprise(
            NOTICE,
            f"{count(total.unreadable, 'file')} could not be read",
            "This user may not read them, so nothing is known about their content.",
            [f"{each.path}: {each.detail}" for each in unreadable],
            total.unreadable,
        )


def _requirements(graph: DependencyGraph) -> Iterator[Surprise]:
    if graph.unmet:
        yield _surprise(
            ALARM,
            f"{count(len(graph.unmet), 'requirement is', 'requirements are')} not met",
            "Importing these may fail, or fail later.",
            [
                f"{each.source} needs {each.text}: "
                + (f"{each.found} is installed" if each.found else "not installed")
                for each in graph.unmet
            ],
        )
    if graph.unparsed:
        yield _surprise(
            NOTICE,
            f"{count(len(graph.unparsed), 'requirement')} cannot be understood",
            "They are not valid by PEP 508; no resolver can honor them.",
            graph.unparsed,
        )


def _unclaimed(unowned: Unowned | None) -> Iterator[Surprise]:
    if unowned is not None and unowned.file_count:
        yield _surprise(
            NOTICE,
            f"{count(unowned.file_count, 'file belongs', 'files belong')} to no distribution",
            f"They take {size(unowned.size)}; uninstalling anything will leave them.",
            [
                f"{each.name} ({count(each.file_count, 'file')}, {size(each.size)})"
                for each in unowned.groups
            ],
        )


def _claims(verification: Verification) -> Iterator[Surprise]:
    if verification.shared:
        yield _surprise(
            NOTICE,
            f"{count(len(verification.shared), 'file is', 'files are')} claimed more than once",
            "The one installed last has overwritten the others; uninstalling either removes it.",
            [f"{path}: {', '.join(owners)}" for path, owners in verification.shared.items()],
        )
    if verification.malformed:
        yield _surprise(
            NOTICE,
            f"{count(len(verification.malformed), 'line')} of RECORD make no sense",
            "Files on such lines were not checked.",
            verification.malformed,
        )


def _installation(installed: Installed) -> Iterator[Surprise]:
    every = installed.distributions
    if installed.leftovers:
        yield _surprise(
            ALARM,
            f"{count(len(installed.leftovers), 'installation')} broken off half-way",
            "An installer was interrupted while it replaced these.",
            installed.leftovers,
        )
    if shadowed := [each for each in every if each.is_shadowed]:
        yield _surprise(
            NOTICE,
            f"{count(len(shadowed), 'distribution is', 'distributions are')} installed twice",
            "The one that comes first on the path is imported.",
            [f"{each.name} {each.version} in {each.site}" for each in shadowed],
        )
    if unrecorded := [each for each in every if not each.is_recorded]:
        yield _surprise(
            NOTICE,
            f"{count(len(unrecorded), 'distribution has', 'distributions have')} no list of files",
            "Nobody can tell whether their files are as they were installed.",
            _names(unrecorded),
        )
    if problems := [each for each in every if each.problem]:
        yield _surprise(
            NOTICE,
            f"The metadata of {count(len(problems), 'distribution')} is damaged",
            "Installers and tools will stumble over it.",
            [f"{each.info}: {each.problem}" for each in problems],
        )
    if elsewhere := [each for each in every if each.origin]:
        yield _surprise(
            FACT,
            f"{count(len(elsewhere), 'distribution')} did not come from an index",
            "A fresh install from names and versions alone would not bring the same code.",
            [f"{each.name}: {each.origin}" for each in elsewhere],
        )


def _code_at_startup(startup: Startup | None) -> Iterator[Surprise]:
    if startup is None:
        return
    files = [file for file in startup.files if file.code]
    added = max(startup.with_site_us - startup.without_site_us, 0)
    if files:
        yield _surprise(
            NOTICE,
            f"{count(len(files), 'file runs', 'files run')} code whenever Python starts",
            f"Lines of .pth files are executed before anything else, in every program; with the "
            f"site folders a start takes {milliseconds(startup.with_site_us)}, "
            f"{milliseconds(added)} more than without.",
            [f"{file.name}: {line}" for file in files for line in file.code],
        )


def _licenses(licenses: Licenses) -> Iterator[Surprise]:
    if strong := [each for each in licenses.entries if each.family == STRONG]:
        yield _surprise(
            NOTICE,
            f"{count(len(strong), 'distribution is', 'distributions are')} under strong copyleft",
            "Passing on a program that includes them may oblige you to pass on its source.",
            [f"{each.owner}: {each.license}" for each in strong],
        )
    if unknown := [each for each in licenses.entries if each.family == UNKNOWN]:
        yield _surprise(
            NOTICE,
            f"{count(len(unknown), 'distribution names', 'distributions name')} no known license",
            "Without one, nobody is allowed to pass them on.",
            [each.owner for each in unknown],
        )


def _shape(graph: DependencyGraph) -> Iterator[Surprise]:
    if graph.cycles:
        yield _surprise(
            NOTICE,
            f"{count(len(graph.cycles), 'group')} of distributions need one another",
            "Neither can be installed or upgraded without the other.",
            [" ⇄ ".join(group) for group in graph.cycles],
        )
    if graph.most_required and graph.most_required[0].total > 1:
        top = graph.most_required[0]
        yield _surprise(
            FACT,
            f"{share(top.total, len(graph.requires))} of everything rests on {top.name}",
            f"{count(top.direct, 'distribution needs', 'distributions need')} it directly"
            + (f", {top.total:,} in all." if top.total > top.direct else "."),
            [],
        )
    if len(graph.longest_chain) > 2:
        yield _surprise(
            FACT,
            f"The longest chain of requirements has {len(graph.longest_chain)} links",
            " → ".join(graph.longest_chain[:12]),
            [],
        )


def _weight(largest: Largest) -> Iterator[Surprise]:
    heavy = [each for each in largest.distributions[:3] if each.size]
    if len(largest.distributions) > 3 and heavy:
        together = sum(each.size for each in heavy)
        yield _surprise(
            FACT,
            f"{listing(each.name for each in heavy)} take {share(together, largest.size)} of all",
            f"{size(together)} of {size(largest.size)}; the other "
            f"{count(len(largest.distributions) - len(heavy), 'distribution')} share the rest.",
            [],
        )


def _names(distributions: Sequence[Distribution]) -> list[str]:
    return [each.label for each in distributions]


def _surprise(
    level: str, title: str, detail: str, examples: Sequence[str], total: int = 0
) -> Surprise:
    """With the first examples; ``total`` is how many there are if not all were kept."""
    shown = tuple(examples[:_MOST_EXAMPLES])
    rest = max(total, len(examples)) - len(shown)
    more = (f"and {rest:,} more",) if shown and rest else ()
    return Surprise(level, title, detail, (*shown, *more))
