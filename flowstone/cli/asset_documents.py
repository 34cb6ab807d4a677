"""Assets and where they stand, as documents for machines and as text for people."""

from collections.abc import Iterable, Mapping, Sequence

from flowstone.cli.output import cell, columns, seconds_text, time_text
from flowstone.cli.run_documents import WORDS, error_text, materialization_document
from flowstone.core.annotations import type_text
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.asset_status import AssetState
from flowstone.core.contracts.store import Current, Key, MaterializationRecord
from flowstone.core.dag import Dag
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.retry import DEFAULT_RETRY
from flowstone.core.status import Status


def state_of(current: Current | None) -> AssetState:
    """Say whether there is a value."""
    if current is None:
        return AssetState.MISSING
    return AssetState.INVALIDATED if current.invalidated else AssetState.STORED


def asset_document(asset: Asset[..., object]) -> dict[str, object]:
    """Return what was said about an asset."""
    options = asset.options
    return {
        "asset": asset.full_name,
        "description": options.description,
        "owner": options.owner,
        "tags": list(options.tags),
        "queue": options.queue or DEFAULT_QUEUE,
        "io": options.io,
        "priority": options.priority,
        "timeout_seconds": options.timeout.total_seconds() if options.timeout else None,
        "executor": options.executor,
        "attempts": (options.retry or DEFAULT_RETRY).max_attempts,
        "aliases": list(options.aliases),
    }


def signature_document(asset: Asset[..., object], dag: Dag) -> dict[str, object]:
    """Return what an asset takes and gives, and what is before and after it."""
    name = asset.full_name
    return {
        "defined_at": str(asset.source),
        "code_version": asset.code_version,
        "returns": type_text(asset.value_type),
        "inputs": [
            {
                "parameter": it.parameter,
                "upstream": it.upstream,
                "type": type_text(it.annotation),
                "is_optional": it.optional,
            }
            for it in asset.inputs
        ],
        "after": list(asset.after),
        "resources": {it.parameter: type_text(it.type) for it in asset.requirements},
        "config": type_text(asset.config_type) if asset.config_type else None,
        "upstream": {"direct": list(dag.upstream[name]), "all": list(dag.ancestors([name]))},
        "downstream": {"direct": list(dag.downstream[name]), "all": list(dag.descendants([name]))},
    }


def state_document(
    key: Key, current: Current | None, latest: MaterializationRecord | None
) -> dict[str, object]:
    """Return where one partition of an asset stands."""
    return {
        "partition": key.partition or None,
        "state": state_of(current).value,
        "materialization_id": current.materialization_id if current else None,
        "materialized_at": time_text(current.materialized_at) if current else None,
        "stored_in": (current.io or "database") if current else None,
        "location": current.location if current else None,
        "version": current.version if current else None,
        "latest": materialization_document(latest) if latest else None,
    }


def asset_text(
    asset: Asset[..., object],
    app: FlowStone,
    key: Key,
    current: Current | None,
    latest: MaterializationRecord | None,
) -> str:
    """Return everything about an asset, for a terminal."""
    facts = [
        ("defined at", asset.source),
        ("code version", asset.code_version),
        ("returns", type_text(asset.value_type)),
        *_option_lines(asset),
        *_state_lines(asset, key, current, latest),
    ]
    dag = app.definitions.dag
    parts = [
        asset.full_name,
        *([f"  {asset.options.description.strip()}"] if asset.options.description else []),
        "",
        _aligned(facts),
        *_inputs(asset),
        *_neighbors("upstream", dag.upstream[asset.full_name], dag.ancestors([asset.full_name])),
        *_neighbors(
            "downstream", dag.downstream[asset.full_name], dag.descendants([asset.full_name])
        ),
    ]
    return "\n".join(parts)


def _option_lines(asset: Asset[..., object]) -> list[tuple[str, object]]:
    options = asset.options
    retry = options.retry or DEFAULT_RETRY
    attempts = f"{retry.max_attempts}"
    if options.retry is None:
        attempts += " after errors that call themselves retryable"
    resources = ", ".join(f"{it.parameter}: {type_text(it.type)}" for it in asset.requirements)
    lines: list[tuple[str, object]] = [
        ("config", type_text(asset.config_type) if asset.config_type else None),
        ("resources", resources or None),
        ("after", ", ".join(asset.after) or None),
        ("queue", options.queue or DEFAULT_QUEUE),
        ("priority", options.priority or None),
        ("attempts", attempts),
        ("timeout", seconds_text(options.timeout.total_seconds()) if options.timeout else None),
        ("executor", options.executor),
        ("io", options.io),
        ("owner", options.owner),
        ("tags", ", ".join(options.tags) or None),
        ("formerly", ", ".join(options.aliases) or None),
    ]
    return lines


def _state_lines(
    asset: Asset[..., object],
    key: Key,
    current: Current | None,
    latest: MaterializationRecord | None,
) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [("", ""), ("partition", key.partition or "none")]
    state = str(state_of(current))
    if current is not None:
        state += f" {time_text(current.materialized_at)} by materialization"
        state += f" {current.materialization_id}"
        if current.version.partition("+")[0] != asset.code_version:
            state += ", by other code"
        where = f"{current.io}: {current.location}" if current.io else "the database"
        lines += [("value", state), ("kept in", where)]
    else:
        lines.append(("value", state))
    if latest is not None:
        lines.append(("latest", _attempt_text(latest)))
    return lines


def _attempt_text(it: MaterializationRecord) -> str:
    took = f" in {seconds_text(it.duration_ms / 1000)}" if it.duration_ms is not None else ""
    why = error_text(it.error) or it.reason
    return f"run {it.run_id}, {WORDS.get(it.status, it.status.value)}{took}: {cell(why)}"


def _inputs(asset: Asset[..., object]) -> list[str]:
    if not asset.inputs:
        return []
    rows = [
        (it.parameter, it.upstream, type_text(it.annotation), "optional" if it.optional else "")
        for it in asset.inputs
    ]
    table = columns(("parameter", "from", "as", ""), rows)
    return ["", *(f"  {line}" for line in table.splitlines())]


def _neighbors(title: str, direct: Iterable[str], every: Sequence[str]) -> list[str]:
    near = list(direct)
    if not every:
        return ["", f"  {title}: none"]
    further = len(every) - len(near)
    more = f", and {further} further" if further else ""
    return ["", f"  {title}: {', '.join(near)}{more}"]


def _aligned(facts: Sequence[tuple[str, object]]) -> str:
    width = max(len(name) for name, _ in facts)
    return "\n".join(
        f"  {name:<{width}}  {value}".rstrip() for name, value in facts if value is not None
    )


def history_row(it: MaterializationRecord) -> Sequence[object]:
    """Return a materialization as a line of a history."""
    seconds = None if it.duration_ms is None else it.duration_ms / 1000
    why = error_text(it.error) or it.reason
    attempt = it.attempt if it.attempt > 1 else None
    word = WORDS.get(it.status, it.status.value)
    started = time_text(it.started_at)
    return it.id, it.run_id, word, attempt, started, seconds_text(seconds), why


def listed_state(status: Status | None, current: Current | None) -> str:
    """Return the state of a partition in a word: what happens to it, else whether it is stored."""
    if status is None or status is Status.SUCCEEDED:
        return state_of(current).value
    return status.value


def list_text(items: Sequence[Mapping[str, object]], width: int | None) -> str:
    """
    Return the list of assets.

    Args:
        width: Of the terminal; descriptions are cut there. None leaves them whole.
    """
    shown = ("asset", "state", "partition", "owner", "tags", "queue", "description")
    rows = [
        [", ".join(map(str, value)) if isinstance(value, list) else value for value in row]
        for row in ([item[name] for name in shown] for item in items)
    ]
    used = [place for place in range(len(shown)) if any(row[place] for row in rows)]
    table = columns([shown[place] for place in used], [[row[it] for it in used] for row in rows])
    if width is None:
        return table
    return "\n".join(
        line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
        for line in table.splitlines()
    )
