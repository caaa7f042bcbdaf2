"""A task's document: what was written is read back, and nothing else is taken for one."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.events import GaussianEvent, SelfComposedEvent
from accounting.values import InvalidValueError
from deployments.synthesis.schema import Category, Number, Schema
from deployments.training.document import TaskDocument, document_from
from tests.training_tasks import document_for

names = st.text("abcdeäß\U0001f600", min_size=1, max_size=8)
numbers = st.decimals(Decimal("0.0001"), Decimal(1000), places=6)
documents = st.builds(
    lambda name, values, sigma, steps, epsilon, plan, rows, dispatched: replace(
        document_for(dispatched=dispatched),
        schema=Schema((Number("a", (-1.5, 0.1, 7.0), missing=True), Category(name, tuple(values)))),
        event=SelfComposedEvent(GaussianEvent(sigma, Decimal(1)), steps),
        steps=steps,
        epsilon=epsilon,
        plan=plan,
        rows_out=rows,
    ),
    names.filter(lambda name: name != "a"),
    st.lists(names, min_size=1, max_size=4, unique=True),
    numbers,
    st.integers(1, 10**6),
    numbers,
    st.dictionaries(names, st.none() | st.booleans() | st.integers(-9, 9) | names | st.lists(st.integers(0, 9))),
    st.none() | st.integers(1, 10**7),
    st.booleans(),
)


@given(documents)
def test_a_document_is_read_back_as_it_was_written(document: TaskDocument) -> None:
    """To the last digit; and written again it is the same text, so that its digest stays."""
    again = document_from(document.text)
    assert again == document
    assert again.text == document.text


def test_only_repetitions_of_one_event_can_be_charged_in_part() -> None:
    """Of what is done at once there is no part."""
    assert document_for().divisible
    assert not document_for(GaussianEvent(Decimal(1), Decimal(1))).divisible


def test_a_document_of_another_version_is_refused() -> None:
    """By its number: it may mean something else by the same words."""
    wire = json.loads(document_for().text)
    with pytest.raises(ValueError, match="version 2"):
        document_from(json.dumps(wire | {"v": 2}))
    with pytest.raises(ValueError, match="version None"):
        document_from("{}")


@pytest.mark.parametrize("part", ["schema", "event"])
def test_a_document_whose_schema_or_event_is_none_is_refused(part: str) -> None:
    """By its field."""
    wire = json.loads(document_for().text)
    with pytest.raises(InvalidValueError):
        document_from(json.dumps(wire | {part: {}}))
