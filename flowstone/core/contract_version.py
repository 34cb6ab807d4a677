"""
Which implementations fit a contract.

Every contract has a version, and a minimum that it still takes. An implementation inherits the
version of the contract that it is loaded with; one that is packaged apart states its own
``contract_version``. A version below the minimum, or with another major number, is refused; none
given means compatible, and so does a newer minor version.
"""

from flowstone.core.errors import IncompatiblePluginError


def check_version(version: str | None, minimum: str, *, subject: str) -> None:
    """
    Refuse an implementation that was written for another contract.

    Args:
        version: ``major.minor.patch`` of the implementation, or None when it has none.
        minimum: The oldest version that the contract takes.
        subject: What the message calls the implementation.

    Raises:
        IncompatiblePluginError: It does not fit, or its version is not one.
    """
    if version is None:
        return
    given, oldest = _parts(version, subject), _parts(minimum, "the contract")
    if given[0] != oldest[0]:
        why = "another major version"
    elif given < oldest:
        why = "too old"
    else:
        return
    raise IncompatiblePluginError(
        f"{subject} has contract version {version}, which is {why}: {minimum} or a later "
        f"{oldest[0]}.x is needed",
        context={"version": version, "minimum": minimum},
    )


def check_implementation(implementation: object, contract: type, *, subject: str) -> None:
    """
    Refuse an implementation, instance or class, whose contract version does not fit.

    Raises:
        IncompatiblePluginError: See `check_version`.
    """
    check_version(
        getattr(implementation, "contract_version", None),
        getattr(contract, "minimum_version", "0.0.0"),
        subject=subject,
    )


def _parts(version: object, subject: str) -> tuple[int, int, int]:
    numbers = version.split(".") if isinstance(version, str) else []
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise IncompatiblePluginError(
            f"{subject} has contract version {version!r}; it must read like '1.0.0'"
        )
    major, minor, patch = map(int, numbers)
    return major, minor, patch
