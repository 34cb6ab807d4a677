"""A join that runs in a child process, which finds it here."""

from flowstone import Pipeline, Skip
from flowstone.plugins.parallel import Branch, Outcome, parallel

apart = Pipeline("apart")


@apart.asset
def good() -> int:
    return 1


@apart.asset
def bad() -> int:
    raise ValueError("boom")


@apart.asset
def gone() -> int | Skip:
    return Skip("no")


@apart.asset(executor="process")
@parallel(failure_mode="partial")
def joined(
    sure: int = Branch(good),
    good: Outcome[int] = Branch(good, required=False),
    bad: Outcome[int] = Branch(bad, required=False),
    gone: Outcome[int] = Branch(gone, required=False),
) -> list[str]:
    return [str(sure), str(good), str(bad), str(gone)]
