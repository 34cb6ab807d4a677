"""A job that is enqueued each second, and made up for where it was missed."""

from flowstone import Pipeline

ticking = Pipeline("ticking")


@ticking.job
async def mark() -> None: ...


ticking.schedule("second", "* * * * * *", mark.with_(), missed="all")
