"""The IO managers of an application, found by what assets, calls and rows have chosen."""

from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.errors import InvalidOptionError
from flowstone.core.io_choice import IOLike, parse, text_of, written
from flowstone.core.registry import Registry

DEFAULT_IO = "default"


class ChosenIO:
    """
    Finds the IO managers of an application by what was chosen.

    ``default`` is the store itself unless the application registered a manager under that name.
    """

    def __init__(self, managers: Registry[IOManager]) -> None:
        self._managers = managers

    def text(self, io: IOLike) -> str:
        """
        Return the text that runs keep for a choice, once it is clear that it can be used.

        Raises:
            NotRegisteredError: No IO manager has this name.
            InvalidOptionError: It takes no such configuration, or that is not JSON.
        """
        text = text_of(io)
        name, config = parse(text, self._managers)
        if name == DEFAULT_IO and DEFAULT_IO not in self._managers:
            if config:
                raise InvalidOptionError(f"io={text!r}: the store itself takes no configuration")
        elif config:
            self._managers.instance(name, config)
        else:
            self._managers.resolve(name)
        return written(name, config)

    def holder(self, io: IOLike) -> str | None:
        """
        Return what rows keep for values stored through ``io``; None is the store itself.

        Raises as `text` does.
        """
        text = self.text(io)
        return None if text == DEFAULT_IO and DEFAULT_IO not in self._managers else text

    def check(self, io: str) -> None:
        """
        Refuse a choice that cannot be made good when values come: its options are compared with
        what the manager takes, and none is made.

        Raises as `text` does.
        """
        holder = self.holder(io)
        if holder is not None:
            self._managers.check_options(*parse(holder, self._managers))

    def manager(self, holder: str) -> IOManager:
        """Return the IO manager of a text that `holder` gave."""
        return self._managers.instance(*parse(holder, self._managers))

    def names(self) -> list[str]:
        """Return the names that there are managers under, sorted."""
        return self._managers.list()
