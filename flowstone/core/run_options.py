"""
RunConfig: what a run says about its assets, as JSON that every worker reads the same way.

::

    {"queue": "etl", "priority": 5,
     "assets": {"sales.report": {"io": "lake", "config": {"top_n": 3}}}}

What is not said is left out.

Objects are named in registries, never stored. An option that is not JSON is refused before anything
is written.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from flowstone.core.asset import Asset


@dataclass(frozen=True, slots=True)
class AssetOptions:
    """
    What a run says about one asset.

    Attributes:
        io: The IO manager that takes the value; None is the asset's own.
        config: Fields of the asset's configuration, JSON-safe.
    """

    io: str | None = None
    config: Mapping[str, object] = field(default_factory=dict)


DEFAULT = AssetOptions()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """
    What a run says about its assets.

    Attributes:
        assets: By full name.
        queue: Where all of the run goes; None leaves it to each asset.
        priority: Of all of the run; None leaves it to each asset.
    """

    assets: Mapping[str, AssetOptions] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None

    def of(self, asset: str) -> AssetOptions:
        """Return what the run says about an asset; defaults if it says nothing."""
        return self.assets.get(asset, DEFAULT)

    def dump(self) -> str | None:
        """Return the JSON text, or None when there is nothing to say."""
        by_asset = {
            name: {
                **({"io": options.io} if options.io else {}),
                **({"config": dict(options.config)} if options.config else {}),
            }
            for name, options in self.assets.items()
        }
        by_asset = {name: options for name, options in by_asset.items() if options}
        said = {
            **({} if self.queue is None else {"queue": self.queue}),
            **({} if self.priority is None else {"priority": self.priority}),
            **({"assets": by_asset} if by_asset else {}),
        }
        return json.dumps(said, ensure_ascii=False) if said else None


NO_OPTIONS = RunOptions()


@lru_cache(maxsize=1024)
def parse(text: str | None) -> RunOptions:
    """Return the options that `RunOptions.dump` wrote."""
    if text is None:
        return NO_OPTIONS
    said = json.loads(text)
    return RunOptions(
        {
            name: AssetOptions(options.get("io"), options.get("config", {}))
            for name, options in said.get("assets", {}).items()
        },
        said.get("queue"),
        said.get("priority"),
    )


def version_of(asset: Asset[..., object], options: AssetOptions) -> str:
    """
    Return the version of what produces a value: its code, and the configuration it was given.

    Two values of the same version, made from the same inputs, are interchangeable.
    """
    if not options.config:
        return asset.code_version
    text = json.dumps(options.config, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{asset.code_version}+{digest}"
