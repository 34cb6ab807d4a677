"""A site folder made for a test, with distributions whose every byte the test decides."""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from flowstone.cli.demo.affected import affected_by
from flowstone.cli.demo.answer import answer
from flowstone.cli.demo.dependency_graph import graph_of
from flowstone.cli.demo.environment import installed
from flowstone.cli.demo.licenses import sort_licenses
from flowstone.cli.demo.recorded_files import inventory
from flowstone.cli.demo.records import (
    Distribution,
    Inventory,
    Report,
    Startup,
    Verification,
)
from flowstone.cli.demo.sizes import weigh
from flowstone.cli.demo.unowned_files import find_unowned
from flowstone.cli.demo.verification import Verifying, check, files_to_check


def recorded(path: str, content: bytes, algorithm: str = "sha256") -> str:
    digest = hashlib.new(algorithm, content).digest()
    text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return f"{path},{algorithm}={text},{len(content)}"


class MadeEnvironment:
    def __init__(self, folder: Path) -> None:
        self.site = Path(os.path.realpath(folder))
        self.site.mkdir(parents=True, exist_ok=True)

    def install(
        self,
        name: str,
        version: str = "1.0",
        *,
        files: Mapping[str, bytes] | None = None,
        headers: Iterable[str] = (),
        requires: Iterable[str] = (),
        record: Iterable[str] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> Path:
        """
        Write a distribution as an installer does, and return its metadata folder.

        Args:
            record: The lines of RECORD instead of those of the files.
            beside: Files of the metadata folder itself, METADATA included if it is to be odd.
        """
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *headers]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        own = {"METADATA": "\n".join(["Metadata-Version: 2.1", *lines, ""]).encode()}
        own |= beside or {}
        for file, content in own.items():
            (info / file).parent.mkdir(parents=True, exist_ok=True)
            (info / file).write_bytes(content)
        for path, content in (files or {}).items():
            self.write(path, content)
        listed = [recorded(path, content) for path, content in (files or {}).items()]
        listed += [recorded(f"{info.name}/{file}", content) for file, content in own.items()]
        rows = [*(listed if record is None else record), f"{info.name}/RECORD,,"]
        text = "".join(f"{row}\n" for row in rows)
        (info / "RECORD").write_bytes(os.fsencode(text))
        return info

    def write(self, path: str, content: bytes = b"") -> Path:
        file = self.site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def distributions(self) -> tuple[Distribution, ...]:
        return installed([self.site]).distributions

    def only(self) -> Distribution:
        (distribution,) = self.distributions()
        return distribution

    def inventory(self) -> Inventory:
        return inventory(self.distributions())

    def verification(self) -> Verification:
        recorded = self.inventory().recorded
        verifying = Verifying()
        for file in files_to_check(recorded):
            verifying.add(file, check(file))
        return verifying.verification(recorded)

    def report(self, startup: Startup | None = None) -> Report:
        everything = installed([self.site])
        files = inventory(everything.distributions)
        verification = self.verification()
        graph = graph_of(everything.distributions)
        return answer(
            installed=everything,
            verification=verification,
            graph=graph,
            licenses=sort_licenses(everything.distributions),
            largest=weigh(files.recorded),
            affected=affected_by(verification, graph),
            unowned=find_unowned(everything.distributions, files),
            startup=startup,
        )
