"""From what somebody asks for to a run that is written: resolved, checked, planned."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TypeAlias, TypedDict

from flowstone.core import partition as partitions
from flowstone.core.asset import Asset, AssetRef
from flowstone.core.chosen_io import DEFAULT_IO
from flowstone.core.config import Config
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.store import CreatedRun, Current, Key, RunRecord, Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.coordinators import Coordinators
from flowstone.core.definitions import Definitions
from flowstone.core.errors import InvalidOptionError, ValueNotStorableError
from flowstone.core.foresight import Foresight
from flowstone.core.io_choice import IOLike
from flowstone.core.job_submission import checked_at, checked_dedupe
from flowstone.core.options import OptionReader, refuse_unknown
from flowstone.core.partition_types import PartitionTypes
from flowstone.core.planner import Action, Decision, Planner, Request
from flowstone.core.run_options import AssetOptions, RunOptions, parse
from flowstone.core.values import Values

ConfigLike: TypeAlias = Config | Mapping[str, object]
"""A configuration, or its fields."""


class RunArguments(TypedDict, total=False):
    """What ``app.run`` takes beside its target."""

    partition: object
    force: bool
    with_deps: bool
    io: IOLike | None
    config: ConfigLike | None


class RequestArguments(RunArguments, total=False):
    """What decides how a request is planned, and where it goes."""

    queue: str | None
    priority: int | None


class EnqueueArguments(RequestArguments, total=False):
    """What ``app.enqueue`` takes beside its target."""

    conn: object
    dedupe: str | None
    at: datetime | None


class Submissions:
    """Plans and creates the runs of one application."""

    def __init__(
        self,
        definitions: Definitions,
        store: Store,
        values: Values,
        codec: Codec,
        telemetry: TelemetryEmitter,
        coordinators: Coordinators,
    ) -> None:
        self._definitions = definitions
        self._foresight = Foresight(definitions.assets, coordinators)
        self._planner = Planner(definitions.assets, definitions.dag)
        self._partition_types = PartitionTypes(definitions.assets)
        self._store = store
        self._values = values
        self._codec = codec
        self._telemetry = telemetry

    def request(
        self,
        targets: Sequence[AssetRef],
        over: Iterable[object] | None = None,
        /,
        *,
        partition: object = None,
        force: bool = False,
        with_deps: bool = True,
        io: IOLike | None = None,
        config: ConfigLike | None = None,
        queue: str | None = None,
        priority: int | None = None,
        **unknown: object,
    ) -> Request:
        """
        Return the request, checked as far as it can be without the store.

        Args:
            over: Partitions to take instead of the one; None is the one.

        Raises:
            UnknownAssetError: There is no such asset.
            InvalidPartitionError: A partition is of no known type, or of another one than an asset
                says that has to be computed for it.
            InvalidOptionError: An option does not exist, has no effect or a wrong value.
            NotRegisteredError: There is no such IO manager.
        """
        refuse_unknown(unknown, EnqueueArguments.__annotations__)
        if over is not None and partition is not None:
            raise InvalidOptionError("give partition= or over=, not both")
        if isinstance(over, str) or not (over is None or isinstance(over, Iterable)):
            raise InvalidOptionError(f"over={over!r} must be a list of partitions: over=[...]")
        given = [partition] if over is None else list(over)
        partition_texts = [partitions.encode(it) for it in given]
        found = [self._definitions.get(target) for target in targets]
        if not found:
            raise InvalidOptionError("nothing is asked for: name at least one asset")
        names = [asset.full_name for asset in found]
        if self._partition_types.are_said:
            upstreams = self._definitions.dag.ancestors(names) if with_deps else ()
            self._partition_types.check([*upstreams, *names], given)
        chosen = None if io is None else self._values.io.text(io)
        configs = self._configs(found, config)
        options = {
            asset.full_name: AssetOptions(chosen, configs.get(asset.full_name, {}))
            for asset in found
        }
        read = OptionReader()
        queue = read.queue(queue)
        priority = None if priority is None else read.priority(priority)
        if read.objections:
            raise InvalidOptionError("; ".join(read.objections))
        return Request(
            targets=list(dict.fromkeys(names)),
            partitions=list(dict.fromkeys(partition_texts)),
            options=RunOptions(options, queue, priority),
            force=force,
            with_deps=with_deps,
        )

    def _configs(
        self, targets: Sequence[Asset[..., object]], config: ConfigLike | None
    ) -> Mapping[str, Mapping[str, object]]:
        """
        Return the configuration's JSON-safe fields for each target that takes it.

        One that says nothing but the defaults is left out: it is the same as none.
        """
        if config is None:
            return {}
        if not isinstance(config, Config | Mapping):
            raise InvalidOptionError(f"config={config!r} must be a Config, or its fields by name")
        takers = [
            asset
            for asset in targets
            if asset.config_type is not None
            and (not isinstance(config, Config) or isinstance(config, asset.config_type))
        ]
        if not takers:
            names = ", ".join(asset.full_name for asset in targets)
            raise InvalidOptionError(
                f"config: {names} takes no such configuration; an upstream that does has to be "
                f"named beside it: run([upstream, {names}], config=...)"
            )
        given = self._json_safe(config)
        configs = {asset.full_name: self._full_config(asset, given) for asset in takers}
        return {
            asset.full_name: configs[asset.full_name]
            for asset in takers
            if not self._are_defaults(asset, configs[asset.full_name])
        }

    def _json_safe(self, config: Config | Mapping[str, object]) -> Mapping[str, object]:
        if isinstance(config, Config):
            config = {it.name: getattr(config, it.name) for it in fields(config) if it.init}
        safe: dict[str, object] = {}
        for name, value in config.items():
            try:
                safe[name] = json.loads(self._codec.encode(value))
            except ValueNotStorableError as error:
                raise InvalidOptionError(
                    f"config: '{name}' cannot be stored: at {error.path}: {error.why}"
                ) from error
        return safe

    def _full_config(
        self, asset: Asset[..., object], given: Mapping[str, object]
    ) -> Mapping[str, object]:
        assert asset.config_type is not None
        parsed = asset.config_type.parse(given, self._codec, asset=asset.full_name)
        return parsed.dump(self._codec)

    def _are_defaults(self, asset: Asset[..., object], config: Mapping[str, object]) -> bool:
        try:
            return config == self._full_config(asset, {})
        except InvalidOptionError:  # a field has no default
            return False

    def _require_configs(self, request: Request, decisions: Sequence[Decision]) -> None:
        """Refuse a run in which an asset would have to do without a field that has no default."""
        for name in {it.key.asset for it in decisions if it.action is Action.RUN}:
            asset = self._definitions.assets[name]
            if asset.config_type is not None and not request.options.of(name).config:
                asset.config_type.parse({}, self._codec, asset=name)

    def again(self, record: RunRecord) -> Request:
        """
        Return the request that the run was made for.

        Raises:
            UnknownAssetError: A target does not exist any longer.
        """

        def now(name: str) -> str:
            return self._definitions.get(name).full_name

        said = parse(record.options)
        return Request(
            targets=list(dict.fromkeys(now(key.asset) for key in record.targets)),
            partitions=list(dict.fromkeys(key.partition for key in record.targets)),
            options=replace(
                said, assets={now(name): options for name, options in said.assets.items()}
            ),
        )

    async def decide(self, request: Request) -> Sequence[Decision]:
        """Return what a run of this request would do now."""
        found, _ = await self._store.current(self._planner.keys(request))
        return await self._decide(request, found)

    async def _decide(self, request: Request, found: Mapping[Key, Current]) -> Sequence[Decision]:
        holders = self._holders(request)
        decisions = self._planner.decide(request, found, holders)
        foreseen = await self._foresight.foresee(decisions)
        if foreseen:
            decisions = self._planner.decide(request, found, holders, foreseen)
        self._require_configs(request, decisions)
        return decisions

    async def create(
        self,
        request: Request,
        *,
        conn: object = None,
        dedupe: str | None = None,
        at: datetime | None = None,
        retry_of: int | None = None,
    ) -> CreatedRun:
        """
        Plan the request and write its run; on ``conn`` it is the caller's commit that counts.

        Raises:
            InvalidOptionError: ``at`` is no instant, ``dedupe`` is not a short text, or an asset
                has to run without a field of its configuration that has no default.
            DependencyNotReadyError: Without ``with_deps``, an upstream has no value.
        """
        at, dedupe = checked_at(at), checked_dedupe(dedupe)
        keys = self._planner.keys(request)
        found, ids = await self._store.current(keys, reserve=len(keys), conn=conn)
        decisions = await self._decide(request, found)
        run = self._planner.build(request, decisions, found, ids)
        run.dedupe, run.at, run.retry_of = dedupe, at, retry_of
        created = await self._store.create_run(run, conn=conn)
        if created.created:
            count = sum(it.action is Action.RUN for it in decisions)
            facts = {"run_id": created.run_id, "targets": list(request.targets)}
            self._telemetry.execute("run.start", {"count": count}, facts)
        return created

    def _holders(self, request: Request) -> Mapping[str, str | None]:
        names = self._definitions.dag.ancestors(request.targets) if request.with_deps else ()
        return {
            name: self._values.io.holder(
                request.options.of(name).io
                or self._definitions.assets[name].options.io
                or DEFAULT_IO
            )
            for name in (*names, *request.targets)
        }
