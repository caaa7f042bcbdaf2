"""Runs the properties against an adapter and says what each came to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from serve_app.client.conformance.adapter import adapter_named
from serve_app.client.conformance.properties import HOLDING, SPENDING, Property
from serve_app.client.conformance.stand_in import Fault
from serve_app.client.conformance.world import FailedError, World, world


@dataclass(frozen=True)
class Result:
    """What one property came to.

    Attributes:
        name: Of the property.
        failure: What the adapter did; None if it has the property.
        advice: What to do where it fails.
    """

    name: str
    failure: str | None
    advice: str


class NotConformingError(AssertionError):
    """The adapter lacks a property; the text says which, and what to do."""


def results(adapter: str, *, holding: str | None = None) -> Iterator[Result]:
    """What each property came to, as soon as it is known.

    Args:
        adapter: Name of an adapter that spends at once, such as ``package.module:function``.
        holding: Name of an adapter that holds, reads and commits, if there is one.

    Raises:
        UnknownAdapterError: If there is no adapter of that name.
    """
    yield from _each(adapter, SPENDING)
    if holding is not None:
        yield from _each(holding, HOLDING)


def check(adapter: str, *, holding: str | None = None) -> None:
    """Passes if the adapter has every property; for a test of one's own. Arguments as for `results`.

    Raises:
        NotConformingError: If it lacks one.
    """
    failed = [result for result in results(adapter, holding=holding) if result.failure is not None]
    if failed:
        lines = [f"{result.name}: {result.failure}. {result.advice}" for result in failed]
        raise NotConformingError("\n".join(["the adapter does not conform:", *lines]))


def _each(name: str, properties: tuple[Property, ...]) -> Iterator[Result]:
    adapter = adapter_named(name)

    def make(*faults: Fault, always: Fault = Fault.NONE, epsilon: str = "10") -> AbstractContextManager[World]:
        return world(name, adapter, *faults, always=always, epsilon=epsilon)

    for one in properties:
        try:
            one.check(make)
        except FailedError as error:
            yield Result(one.name, str(error), one.advice)
        else:
            yield Result(one.name, None, one.advice)
