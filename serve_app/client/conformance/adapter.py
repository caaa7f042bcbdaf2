"""What is tested: anything that spends budget over HTTP, behind one small function."""

import importlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol, cast


class Outcome(StrEnum):
    """What an adapter says of an operation when it returns."""

    SPENT = "spent"
    NOT_SPENT = "not spent"
    UNKNOWN = "unknown"


class Adapter(Protocol):
    """Spends once, reads the data only when that has succeeded, and says what came of it."""

    def __call__(self, base_url: str, token: str, request: Mapping[str, str], read_data: Callable[[], None]) -> Outcome:
        """One operation.

        Args:
            base_url: Address of the service.
            token: Bearer token.
            request: ``job_id``, ``epsilon`` and ``delta`` (exact decimals), ``operation`` (a name that this operation
                has also when it is begun again after a crash) and ``folder`` (where files may be kept for that).
            read_data: Stands for reading the data: to be called when the budget is spent, or held.

        Returns:
            `SPENT` if the charge is certain, `NOT_SPENT` if it is certain that there is none, else `UNKNOWN`.
        """


class UnknownAdapterError(ValueError):
    """No adapter has that name."""


def adapter_named(name: str) -> Adapter:
    """The adapter of a name such as ``package.module:function``.

    Raises:
        UnknownAdapterError: If there is none, saying why.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise UnknownAdapterError(f"{name!r} does not name an adapter: write package.module:function")
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise UnknownAdapterError(f"{module} cannot be imported: {error}") from error
    except AttributeError:
        raise UnknownAdapterError(f"{module} has no {function}") from None
    if not callable(found):
        raise UnknownAdapterError(f"{name} is not a function")
    return cast(Adapter, found)
