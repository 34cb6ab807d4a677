"""The IO manager: one text file for each attempt."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from flowstone.core.contracts.io_manager import Address, IOManager, Piece, Written
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import NotStoredError
from flowstone.core.json_value import JsonValue


class NotesIO(IOManager):
    """
    Keeps values as JSON in a folder that all workers see.

    Args:
        root: The folder; it is made when it is not there.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._codec = JsonCodec()

    async def store(self, address: Address, value: object) -> Written:
        text = self._codec.encode(value)
        slice_ = sha256(f"{address.asset}\0{address.partition}".encode()).hexdigest()[:16]
        name = f"{address.origin}-{address.materialization_id}-{address.claim}-{slice_}.json"
        self._root.mkdir(parents=True, exist_ok=True)
        unfinished = self._root / f"{name}.{os.urandom(4).hex()}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self._root / name)
        return Written(name, size_bytes=len(text.encode()))

    async def load(self, location: JsonValue, annotation: object = object) -> object:
        try:
            text = self._path(location).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotStoredError(f"there is no file {self._path(location)}") from None
        return self._codec.decode(text, annotation)

    async def exists(self, location: JsonValue) -> bool:
        return self._path(location).exists()

    async def delete(self, location: JsonValue) -> None:
        self._path(location).unlink(missing_ok=True)

    async def written(self, origin: str) -> AsyncIterator[Piece]:
        for file in sorted(self._root.glob(f"{origin}-*")):
            _, materialization_id, claim, _ = file.name.split("-")
            status = file.stat()
            written_at = datetime.fromtimestamp(status.st_mtime, UTC)
            yield Piece(file.name, int(materialization_id), int(claim), written_at, status.st_size)

    def _path(self, location: JsonValue) -> Path:
        return self._root / str(location)
