"""
How a child process finds an asset: by the module that it imports, and the name in it.

A decorated function does not pickle, and its name is that of the `Asset` that took its place. So
the name has to lead to that very asset.
"""

import os
import sys
from dataclasses import asdict, dataclass

from flowstone.core.annotations import innermost
from flowstone.core.asset import Asset
from flowstone.core.errors import DefinitionError
from flowstone.core.job import Job

MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where an asset is.

    Attributes:
        asset: Its full name.
        module: What is imported.
        path: The name in the module, with dots inside classes.
    """

    asset: str
    module: str
    path: str

    def dump(self) -> dict[str, str]:
        """Return the JSON that `Place` is made from again."""
        return asdict(self)

    def find(self) -> Asset[..., object]:
        """
        Return the asset, from a module that is imported already.

        Raises:
            DefinitionError: There is something else.
        """
        found = _body(_member(sys.modules[self.module], self.path))
        if isinstance(found, Asset) and found.full_name == self.asset:
            return found
        raise DefinitionError(
            f"a child process looks for asset '{self.asset}' as {self.module}.{self.path}, and "
            f"finds {found!r}"
        )


def place_of(asset: Asset[..., object]) -> Place:
    """
    Return where a child finds the asset.

    Raises:
        DefinitionError: It does not.
    """
    function = innermost(asset.function)
    module = str(getattr(function, "__module__", None))
    path = str(getattr(function, "__qualname__", asset.name))
    known = sys.modules.get(module)
    if known is None:
        raise DefinitionError(f"its module '{module}' cannot be imported by name")
    if module == MAIN and main_module() is None:
        raise DefinitionError("what was typed into a prompt or a notebook cannot be imported")
    if _body(_member(known, path)) is asset:
        return Place(asset.full_name, module, path)
    # report = pipeline.asset(executor="process")(compute)
    for name, value in vars(known).items():
        if _body(value) is asset:
            return Place(asset.full_name, module, name)
    if "<" in path:  # <lambda>, <locals>
        raise DefinitionError(f"'{path}' has no name in module '{module}'")
    raise DefinitionError(f"'{path}' of module '{module}' is not this asset")


def main_module() -> dict[str, str] | None:
    """
    Return how a child gets at the script that this process runs; None when it cannot.

    As `multiprocessing` does it: by name for ``python -m``, by path for a file.
    """
    from multiprocessing.spawn import get_preparation_data

    said = get_preparation_data("flowstone")
    found = {key: str(said[key]) for key in _MAIN_KEYS if key in said}
    path = found.get("init_main_from_path")
    return found if found and (path is None or os.path.isfile(path)) else None


_MAIN_KEYS = ("init_main_from_name", "init_main_from_path")


def _body(found: object) -> object:
    return found.body if isinstance(found, Job) else found


def _member(owner: object, path: str) -> object:
    for name in path.split("."):
        owner = getattr(owner, name, None)
    return owner
