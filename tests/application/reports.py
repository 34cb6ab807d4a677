"""A report on its base, with a name that is nasty everywhere."""

from flowstone import Context, Dep, Pipeline

NASTY = "a'; DROP TABLE flowstone_runs; -- \" %s {} $1"


def pipeline(computed: list[str] | None = None) -> Pipeline:
    p = Pipeline("p")
    names = [] if computed is None else computed

    @p.asset
    async def base(ctx: Context) -> str:
        names.append(f"base {ctx.partition}")
        return f"base of {ctx.partition}"

    @p.asset
    def report(base: str = Dep(base)) -> str:
        names.append("report")
        return f"report on {base}"

    return p
