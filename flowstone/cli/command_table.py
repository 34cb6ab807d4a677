"""
Every command by name, without importing one: ``--help`` is made of this table alone.

A command is imported when it is run, or when its own help is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One command.

    Attributes:
        help: One line.
        target: ``module:attribute`` of the `click.Command`; empty for a group.
        commands: Those of a group.
    """

    help: str
    target: str = ""
    commands: Mapping[str, "Entry"] = field(default_factory=dict)


def _in(module: str, **helps: str) -> Mapping[str, Entry]:
    return {
        name: Entry(help_, f"flowstone.cli.{module}:{name}_command")
        for name, help_ in helps.items()
    }


COMMANDS: Mapping[str, Entry] = {
    **_in("demo_command", demo="Examine this Python environment on an embedded Postgres."),
    **_in("init_command", init="Write a first pipeline into a folder."),
    **_in("check_command", check="Check the definitions; needs no database."),
    **_in("plan_command", plan="Say what a run would compute, what it would reuse, and why."),
    **_in("run_command", run="Compute assets here and now, and print the value."),
    **_in("enqueue_command", enqueue="Leave assets, or a job, to workers."),
    **_in("worker_command", worker="Work on what was enqueued, until stopped."),
    "runs": Entry(
        "List, watch, cancel and repeat runs.",
        commands=_in(
            "runs_commands",
            ls="List runs, newest first.",
            show="Show one run: what it computed, what it reused, what failed.",
            watch="Follow a run to its end.",
            cancel="Cancel what has not started, and stop what runs.",
            retry="Enqueue again what a run was for.",
        ),
    ),
    "approval": Entry(
        "List what waits for somebody to approve it, and decide.",
        commands=_in(
            "approval_commands",
            ls="List approvals, newest first.",
            show="Show one approval: what is held, who may decide, what was decided.",
            approve="Approve what is held, or another value in its place.",
            reject="Reject what is held; the asset fails with the reason.",
            escalate="Let others decide in the place of those who could so far.",
        ),
    ),
    "job": Entry(
        "List jobs, and retry, cancel or delete them.",
        commands=_in(
            "job_commands",
            ls="List jobs, newest first.",
            show="Show one job: arguments, result, failed attempts.",
            retry="Let jobs that have ended run again.",
            cancel="Cancel what has not started, and stop what runs.",
            rm="Delete jobs that do not run.",
        ),
    ),
    "schedule": Entry(
        "Look at schedules of jobs, and add, pause or trigger them.",
        commands=_in(
            "schedule_commands",
            ls="List schedules.",
            next="Tell the next ticks of a schedule.",
            add="Enqueue a job again and again.",
            rm="Delete a schedule that was added.",
            pause="Let a schedule enqueue nothing.",
            resume="Let a schedule go on.",
            trigger="Enqueue the job of a schedule now.",
        ),
    ),
    "queue": Entry(
        "Look at queues; pause, limit and scale them.",
        commands=_in(
            "queue_commands",
            ls="List queues: what they hold, and what was said about them.",
            pause="Let nothing of a queue begin.",
            resume="End a pause.",
            limit="Limit how many run at once, or start in a period.",
            scale="Say how many run at once on each worker, or on one.",
            stop="Let workers, or one of them, begin nothing of a queue.",
            drain="Wait until nothing of a queue runs or is due.",
        ),
    ),
    "gate": Entry(
        "Look at signal gates, and signal them.",
        commands=_in(
            "gate_commands",
            ls="List open gates, earliest deadline first.",
            show="Show one gate: what it waits for, what came, from whom.",
            signal="Send the signal of a gate.",
        ),
    ),
    "scatter": Entry(
        "Look at fan-outs: progress, failures, limits; retry and cancel.",
        commands=_in(
            "scatter_commands",
            ls="List scatters, newest first.",
            show="Show one: how far it is, its limits, what failed most.",
            failures="List what items failed with, equal errors together.",
            retry="Let the failed items of one that runs go again.",
            set="Change concurrency, rate and threshold while it runs.",
            cancel="Cancel one: no further item starts.",
        ),
    ),
    **_in("top_command", top="Watch queues, workers, what runs and what fails."),
    "asset": Entry(
        "Look at assets and their values.",
        commands={
            **_in(
                "asset_commands",
                ls="List assets.",
                show="Show one asset: definition, state, lineage.",
                graph="Draw the dependencies.",
                value="Print the stored value.",
                history="List the materializations of an asset, newest first.",
                invalidate="Declare a value stale, and what was made from it.",
            ),
            **_in("sweep_command", sweep="Delete what IO managers have written and no row knows."),
        },
    ),
    "db": Entry(
        "Create, upgrade and look at the tables.",
        commands={
            **_in(
                "db_commands",
                migrate="Create the tables, or bring them up to date.",
                status="Say whether the tables fit this FlowStone.",
                triggers="Say which triggers record job events, or switch them.",
            ),
            **_in(
                "pruning_commands",
                prune="Delete what is kept no longer.",
                size="Say how large the tables are, and what bounds them.",
            ),
        },
    ),
    **_in("doctor_command", doctor="Examine the installation, the database and the workers."),
    **_in("version_command", version="Print the version."),
}
