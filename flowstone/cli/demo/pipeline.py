"""
The pipeline ``environment``: what is installed here, is it intact, and what would surprise you?

::

    distributions ─┬─▶ dependency_graph ─┬──────────────────▶ report
                   │                     └─▶ affected ──────▶ report
                   ├─▶ files ─┬─▶ verified ─┴───────────────▶ report
                   │          ├─▶ largest ──────────────────▶ report
                   ├──────────┴─▶ unowned ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌▶ report
                   ├─▶ startup (after verified) ╌╌╌╌╌╌╌╌╌╌╌╌▶ report
                   └─▶ licenses ────────────────────────────▶ report

Dashed edges are optional: where nothing can be said the asset is skipped, and the report is made
without it. ``verified`` is a scatter over every recorded file, tens of thousands of items. The
partition is ``environment.fingerprint()``: what was found out is reused until the environment
changes.
"""

from collections.abc import Iterator

from flowstone import Context, Dep, Pipeline, Retry, Skip
from flowstone.cli.demo.affected import affected_by
from flowstone.cli.demo.answer import answer
from flowstone.cli.demo.dependency_graph import graph_of
from flowstone.cli.demo.environment import installed, require_same_environment, site_folders
from flowstone.cli.demo.file_names import to_name
from flowstone.cli.demo.licenses import sort_licenses
from flowstone.cli.demo.recorded_files import inventory
from flowstone.cli.demo.records import (
    Affected,
    DependencyGraph,
    Installed,
    Inventory,
    Largest,
    Licenses,
    Report,
    Startup,
    Unowned,
    Verification,
)
from flowstone.cli.demo.sizes import weigh
from flowstone.cli.demo.startup import measure_startup
from flowstone.cli.demo.unowned_files import find_unowned
from flowstone.cli.demo.verification import (
    FileState,
    FileToCheck,
    Verifying,
    check,
    files_to_check,
)
from flowstone.plugins.scatter import Results, scatter

environment = Pipeline("environment", timeout="5m", tags=["demo"], owner="flowstone")


@environment.asset
def distributions(ctx: Context[str | None]) -> Installed:
    """Every installed distribution, as its metadata describes it."""
    if ctx.partition is not None:
        require_same_environment(ctx.partition)
    found = installed(site_folders())
    ctx.log.info("%d distributions in %s", len(found.distributions), ", ".join(found.sites))
    return found


@environment.asset
def files(distributions: Installed = Dep(distributions)) -> Inventory:
    """Every file that an installer recorded, with its hash and size, and its size on the disk."""
    return inventory(distributions.distributions)


def each_file(files: Inventory = Dep(files)) -> Iterator[FileToCheck]:
    """Every recorded file, one by one: the items of `verified`."""
    return files_to_check(files.recorded)


async def verification(
    results: Results[FileToCheck, FileState], files: Inventory = Dep(files)
) -> Verification:
    """How all files stand together: what `verified` is."""
    verifying = Verifying()
    async for it in results:
        verifying.add(it.item, it.value)
    return verifying.verification(files.recorded)


@environment.asset(tags=["heavy"])
@scatter(each_file, gather=verification)
def verified(file: FileToCheck) -> FileState:
    """Every recorded file, read and compared with its recorded hash."""
    return check(file)


@environment.asset
async def dependency_graph(distributions: Installed = Dep(distributions)) -> DependencyGraph:
    """Which distribution needs which in this environment, and what is not met."""
    return graph_of(distributions.distributions)


@environment.asset
async def licenses(distributions: Installed = Dep(distributions)) -> Licenses:
    """Every license in its family, with the evidence."""
    return sort_licenses(distributions.distributions)


@environment.asset
def largest(files: Inventory = Dep(files)) -> Largest:
    """What takes the room: files, distributions, kinds of files."""
    return weigh(files.recorded)


@environment.asset
def unowned(
    distributions: Installed = Dep(distributions), files: Inventory = Dep(files)
) -> Unowned | Skip:
    """Files in the site folders that no distribution claims."""
    found = find_unowned(distributions.distributions, files)
    return Skip("no installer recorded what it put here") if found is None else found


@environment.asset
async def affected(
    verified: Verification = Dep(verified),
    dependency_graph: DependencyGraph = Dep(dependency_graph),
) -> Affected:
    """What rests on a distribution that is damaged or lacks what it needs."""
    return affected_by(verified, dependency_graph)


# After `verified`, which keeps disk and processors busy: a time taken meanwhile would be too long.
@environment.asset(after=[verified], retry=Retry(3), timeout="1m")
async def startup(distributions: Installed = Dep(distributions)) -> Startup | Skip:
    """What the environment does to every start of Python, and how long that takes."""
    executable = to_name(distributions.interpreter.executable)
    if not executable:
        return Skip("this Python does not know its own executable")
    return await measure_startup(executable, site_folders())


@environment.asset
async def report(
    *,
    distributions: Installed = Dep(distributions),
    verified: Verification = Dep(verified),
    dependency_graph: DependencyGraph = Dep(dependency_graph),
    licenses: Licenses = Dep(licenses),
    largest: Largest = Dep(largest),
    affected: Affected = Dep(affected),
    unowned: Unowned | None = Dep(unowned, optional=True),
    startup: Startup | None = Dep(startup, optional=True),
) -> Report:
    """Is this environment intact, and what would surprise its owner?"""
    return answer(
        installed=distributions,
        verification=verified,
        graph=dependency_graph,
        licenses=licenses,
        largest=largest,
        affected=affected,
        unowned=unowned,
        startup=startup,
    )
