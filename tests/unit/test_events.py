"""Events are complete and canonical, and what they could not mean is refused before anything is priced."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from accounting.event_wire import KINDS, event_from_wire, event_to_wire, parse_decimal
from accounting.events import (
    LARGEST_PARAMETER,
    MAX_CATEGORIES,
    MAX_COUNT,
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_NAME,
    MAX_POPULATION,
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    SelfComposedEvent,
    ZCdpEvent,
    leaves,
    parts_of,
)
from accounting.ledger.canonical import canonical_json
from accounting.values import InvalidValueError
from tests.strategies import events, extreme

ONE, TWO = Decimal(1), Decimal(2)
ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
LAPLACE = LaplaceEvent(TWO, ONE)

TRAPS = ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "0", "-0", "1e999999", "1e-999999", "0." + "1" * 40, "1" * 40]
"""Numbers that make some accountant fail open, or never return."""

PINNED: list[tuple[Event, str]] = [
    (ClaimEvent(Decimal("0.50"), Decimal("1e-7")), '{"delta":"0.0000001","epsilon":"0.5","kind":"claim","version":1}'),
    (ZCdpEvent(Decimal("0.125")), '{"kind":"zcdp","rho":"0.125","version":1}'),
    (LAPLACE, '{"kind":"laplace","scale":"2","sensitivity":"1","version":1}'),
    (
        DiscreteLaplaceEvent(Decimal("2.5"), Decimal("3.0")),
        '{"kind":"discrete_laplace","scale":"2.5","sensitivity":"3","version":1}',
    ),
    (
        GaussianEvent(Decimal(5), ONE, unit="patient", adjacency=REPLACE),
        '{"adjacency":"replace_one","kind":"gaussian","sensitivity":"1","sigma":"5","unit":"patient","version":1}',
    ),
    (
        DiscreteGaussianEvent(Decimal(5), Decimal("0.1"), unit="a record"),
        '{"kind":"discrete_gaussian","sensitivity":"0.1","sigma":"5","unit":"a record","version":1}',
    ),
    (
        ExponentialEvent(TWO, ONE, SelectionForm.GUMBEL, monotonic=True),
        '{"form":"gumbel","kind":"exponential","monotonic":true,"scale":"2","sensitivity":"1","version":1}',
    ),
    (
        ExponentialEvent(TWO, ONE, SelectionForm.PERMUTE_AND_FLIP, monotonic=False),
        '{"form":"permute_and_flip","kind":"exponential","monotonic":false,"scale":"2","sensitivity":"1","version":1}',
    ),
    (
        RandomizedResponseEvent(Decimal("0.75"), 2),
        '{"categories":2,"kind":"randomized_response","probability":"0.75","version":1}',
    ),
    (
        PoissonGaussianEvent(ONE, ONE, sampling_probability=Decimal("0.01")),
        '{"adjacency":"add_remove","kind":"poisson_gaussian","sampling_probability":"0.01","sensitivity":"1",'
        '"sigma":"1","version":1}',
    ),
    (
        PoissonLaplaceEvent(ONE, ONE, sampling_probability=Decimal("0.01")),
        '{"adjacency":"add_remove","kind":"poisson_laplace","sampling_probability":"0.01","scale":"1",'
        '"sensitivity":"1","version":1}',
    ),
    (
        FixedSizeGaussianEvent(ONE, TWO, sample_size=10, population=1000),
        '{"adjacency":"replace_one","kind":"fixed_size_gaussian","population":1000,"sample_size":10,'
        '"sensitivity":"2","sigma":"1","version":1}',
    ),
    (
        SelfComposedEvent(LAPLACE, 3),
        '{"count":3,"event":{"kind":"laplace","scale":"2","sensitivity":"1","version":1},"kind":"self_composed",'
        '"version":1}',
    ),
    (
        ComposedEvent((LAPLACE, ZCdpEvent(ONE)), unit="record"),
        '{"events":[{"kind":"laplace","scale":"2","sensitivity":"1","version":1},'
        '{"kind":"zcdp","rho":"1","version":1}],"kind":"composed","unit":"record","version":1}',
    ),
    (
        ParallelEvent((("north", LAPLACE), ("south", ZCdpEvent(ONE))), adjacency=ADD),
        '{"adjacency":"add_remove","kind":"parallel","parts":'
        '[["north",{"kind":"laplace","scale":"2","sensitivity":"1","version":1}],'
        '["south",{"kind":"zcdp","rho":"1","version":1}]],"version":1}',
    ),
]


def wire(event: Event) -> dict[str, Any]:
    """The event's wire form, as a mapping of its own."""
    return dict(event_to_wire(event))


def field_of(make: Callable[[], object]) -> str:
    """The field that a refusal names; its reason says something."""
    with pytest.raises(InvalidValueError) as refused:
        make()
    assert refused.value.reason
    return refused.value.field


# The wire form.


def test_every_kind_of_event_is_pinned() -> None:
    """A kind without a literal example could change its form unseen."""
    assert {event.kind for event, _ in PINNED} == KINDS
    assert len(KINDS) == 14


@pytest.mark.parametrize(("event", "text"), PINNED, ids=[text[:60] for _, text in PINNED])
def test_the_wire_form_is_this_one_and_no_other(event: Event, text: str) -> None:
    """Ledgers and certificates hold these very bytes, and each reads back as the same event."""
    assert canonical_json(event_to_wire(event)) == text
    assert event_from_wire(json.loads(text)) == event


@given(extreme)
def test_an_event_survives_the_wire(event: Event) -> None:
    """Writing an event and reading it again gives an equal event, to the last digit of any number."""
    text = canonical_json(event_to_wire(event))
    assert event_from_wire(json.loads(text)) == event
    assert canonical_json(event_to_wire(event_from_wire(json.loads(text)))) == text


@given(events)
def test_a_composition_survives_the_wire(event: Event) -> None:
    """Parts come back nested and in order, whatever they are."""
    assert event_from_wire(json.loads(canonical_json(event_to_wire(event)))) == event


def test_whole_numbers_and_decimals_are_numbers_too() -> None:
    """Both are exact, so they are read like the text that says the same; the version may be left out."""
    assert event_from_wire({"kind": "laplace", "scale": 2, "sensitivity": Decimal(1)}) == LAPLACE
    read = event_from_wire({"kind": "randomized_response", "probability": "0.75", "categories": "2e0"})
    assert read == RandomizedResponseEvent(Decimal("0.75"), 2)


@pytest.mark.parametrize("text", ["0.1", "1e-5", "1E5", "-3", "+2", "NaN"])
def test_a_plain_decimal_is_read(text: str) -> None:
    """What is read is the very number written; whether it makes sense is asked afterwards."""
    assert str(parse_decimal(text, "x")) == str(Decimal(text))


# Numbers that are refused, in every event.

NUMBERS = [
    (kind, name)
    for kind, names in {
        "claim": ["epsilon"],
        "zcdp": ["rho"],
        "laplace": ["scale", "sensitivity"],
        "discrete_laplace": ["scale", "sensitivity"],
        "gaussian": ["sigma", "sensitivity"],
        "discrete_gaussian": ["sigma", "sensitivity"],
        "exponential": ["scale", "sensitivity"],
        "randomized_response": ["probability"],
        "poisson_gaussian": ["sigma", "sensitivity", "sampling_probability"],
        "poisson_laplace": ["scale", "sensitivity", "sampling_probability"],
        "fixed_size_gaussian": ["sigma", "sensitivity"],
    }.items()
    for name in names
]
EXAMPLES = {event.kind: wire(event) for event, _ in PINNED}


def test_every_decimal_of_every_event_is_in_the_tables_of_traps() -> None:
    """A new parameter without its refusals fails here."""
    decimals = {
        (event.kind, name)
        for event, _ in PINNED
        for name, value in event.parameters().items()
        if isinstance(value, Decimal)
    }
    assert decimals == {*NUMBERS, ("claim", "delta")}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_every_fail_open_number_is_refused_in_every_event(kind: str, name: str, trap: str) -> None:
    """As a decimal and as text: an event with such a number cannot exist."""
    for value in (trap, Decimal(trap)):
        data = EXAMPLES[kind] | {name: value}
        assert field_of(lambda data=data: event_from_wire(data)) == f"event.{name}"  # type: ignore[misc]


@pytest.mark.parametrize("trap", [trap for trap in TRAPS if trap not in ("0", "-0")] + ["1", "1.5"])
def test_every_fail_open_delta_of_a_claim_is_refused(trap: str) -> None:
    """A claim's delta is below 1, and only zero is allowed of what other numbers refuse."""
    assert field_of(lambda: event_from_wire(EXAMPLES["claim"] | {"delta": trap})) == "event.delta"


LARGEST = [
    ("claim", "epsilon", Decimal(1_000_000)),
    ("zcdp", "rho", Decimal(1_000_000)),
    *((kind, name, LARGEST_PARAMETER) for kind, name in NUMBERS if name in ("scale", "sigma", "sensitivity")),
    ("poisson_gaussian", "sampling_probability", ONE),
    ("poisson_laplace", "sampling_probability", ONE),
]


@pytest.mark.parametrize(("kind", "name", "largest"), LARGEST)
def test_the_largest_value_is_accepted_and_no_larger_one(kind: str, name: str, largest: Decimal) -> None:
    """The bounds are those documented, to the last step."""
    accepted = event_from_wire(EXAMPLES[kind] | {name: largest})
    assert accepted.parameters()[name] == largest
    step = ONE if kind == "discrete_laplace" else Decimal("1e-9")
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {name: largest + step})) == f"event.{name}"


@pytest.mark.parametrize(
    "value",
    [0.1, True, None, [], {}, "", " 1", "1 ", "1_0", "\u0661", "one", "0x10", "1" * 65, "1e99999999999999999999",
     10**18 + 1, -(10**18) - 1, pytest.param(10**5000, id="10^5000")],
)  # fmt: skip
def test_what_is_not_plainly_a_decimal_is_refused(value: object) -> None:
    """Floats above all: 0.1 as a float is not one tenth."""
    assert field_of(lambda: event_from_wire(EXAMPLES["laplace"] | {"scale": value})) == "event.scale"


# Whole numbers, names and choices.


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        ("randomized_response", "categories", MAX_CATEGORIES),
        ("fixed_size_gaussian", "sample_size", 1000),
        ("fixed_size_gaussian", "population", MAX_POPULATION),
        ("self_composed", "count", MAX_COUNT),
    ],
)
@pytest.mark.parametrize("value", [0, -1, "0.5", "NaN", "Infinity", "1e19", "1e999999", 2.0, True, None, "two"])
def test_a_count_is_a_whole_number_from_one_up_to_its_bound(kind: str, name: str, most: int, value: object) -> None:
    """Neither fractions nor floats nor truth values count, and the bound itself is the last that does."""
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {name: value})) == f"event.{name}"
    assert event_from_wire(EXAMPLES[kind] | {name: most}).parameters()[name] == most
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {name: most + 1})) == f"event.{name}"


@pytest.mark.parametrize("value", [True, 2.0, Decimal(2), "2", None])
def test_a_count_that_is_no_int_is_refused_in_the_class_too(value: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """Where no wire form stands between: to Python, True is the number 1."""
    assert field_of(lambda: SelfComposedEvent(LAPLACE, value)) == "count"


def test_a_single_category_is_no_choice() -> None:
    """Randomized response needs at least two answers."""
    assert field_of(lambda: RandomizedResponseEvent(Decimal("0.9"), 1)) == "categories"
    assert RandomizedResponseEvent(Decimal("0.9"), 2).categories == 2


def test_a_sample_is_no_larger_than_the_population() -> None:
    """Drawing all is allowed, drawing more is a mistake."""
    whole = FixedSizeGaussianEvent(ONE, ONE, sample_size=5, population=5)
    assert whole.sample_size == whole.population
    assert field_of(lambda: FixedSizeGaussianEvent(ONE, ONE, sample_size=6, population=5)) == "sample_size"


@pytest.mark.parametrize(
    ("probability", "categories"), [("0.5", 2), ("0.25", 4), ("0.1", 2), ("0.000001", 1_000_000), ("1", 2), ("1.0", 9)]
)
def test_a_response_that_tells_nothing_or_everything_is_refused(probability: str, categories: int) -> None:
    """The truth must be likelier than each other answer, and not certain."""
    assert field_of(lambda: RandomizedResponseEvent(Decimal(probability), categories)) == "probability"


def test_the_least_and_the_most_honest_response_are_accepted() -> None:
    """One step inside each bound."""
    assert RandomizedResponseEvent(Decimal("0.250000000000000000000000000001"), 4).categories == 4
    assert RandomizedResponseEvent(1 - Decimal("1e-28"), 2).probability < 1


def test_a_statistic_of_whole_numbers_changes_by_whole_numbers() -> None:
    """A broken sensitivity of discrete Laplace noise is a misunderstanding."""
    assert field_of(lambda: DiscreteLaplaceEvent(ONE, Decimal("1.5"))) == "sensitivity"
    assert DiscreteLaplaceEvent(ONE, Decimal("3.00")).sensitivity == 3


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME + 1), "a\nb", "a\x00", "\u202e"])
def test_a_privacy_unit_has_a_printable_name(name: str) -> None:
    """Names are shown to people, so nothing hides in them."""
    assert field_of(lambda: LaplaceEvent(TWO, ONE, unit=name)) == "unit"
    assert field_of(lambda: ParallelEvent(((name, LAPLACE),))) == "parts"


def test_a_name_may_have_all_the_characters_allowed() -> None:
    """The bound itself is within it."""
    assert LaplaceEvent(TWO, ONE, unit="ü" * MAX_NAME).unit == "ü" * MAX_NAME


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_event_checks_its_unit(kind: str) -> None:
    """No class forgets the check that all share."""
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {"unit": "a\nb"})) == "event.unit"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("exponential", "form", "laplace"),
        ("exponential", "form", None),
        ("exponential", "monotonic", "true"),
        ("exponential", "monotonic", 1),
        ("laplace", "adjacency", "add-remove"),
        ("laplace", "adjacency", ["add_remove"]),
        ("laplace", "unit", 7),
        ("self_composed", "event", "laplace"),
        ("self_composed", "event", None),
        ("composed", "events", "laplace"),
        ("composed", "events", EXAMPLES["laplace"]),
        ("composed", "events", None),
        ("parallel", "parts", "north"),
        ("parallel", "parts", {"north": EXAMPLES["laplace"]}),
    ],
)
def test_what_is_of_another_type_is_refused(kind: str, name: str, value: object) -> None:
    """A wish that is not understood is never passed over."""
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {name: value})) == f"event.{name}"


# Adjacency.


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("poisson_gaussian", REPLACE), ("poisson_laplace", REPLACE), ("fixed_size_gaussian", ADD)],
)
def test_a_sampled_event_has_the_adjacency_of_its_theorem(kind: str, wrong: Adjacency) -> None:
    """Unstated it is filled in; another is refused: under it the price would be too low."""
    unstated = {name: value for name, value in EXAMPLES[kind].items() if name != "adjacency"}
    assert canonical_json(event_to_wire(event_from_wire(unstated))) == canonical_json(EXAMPLES[kind])
    assert field_of(lambda: event_from_wire(EXAMPLES[kind] | {"adjacency": wrong.value})) == "event.adjacency"


POISSON = PoissonGaussianEvent(ONE, ONE, sampling_probability=Decimal("0.1"))
FIXED = FixedSizeGaussianEvent(ONE, ONE, sample_size=1, population=10)


def test_parts_of_a_composition_speak_of_the_same_neighbours() -> None:
    """Sums over different adjacencies or units protect neither, however deep they are."""
    mixed: list[tuple[str, Callable[[], object]]] = [
        ("adjacency", lambda: ComposedEvent((POISSON, FIXED))),
        ("adjacency", lambda: ParallelEvent((("a", POISSON), ("b", LaplaceEvent(TWO, ONE, adjacency=REPLACE))))),
        ("adjacency", lambda: SelfComposedEvent(POISSON, 2, adjacency=REPLACE)),
        ("adjacency", lambda: ComposedEvent((SelfComposedEvent(POISSON, 2), LAPLACE), adjacency=REPLACE)),
        ("unit", lambda: ComposedEvent((LaplaceEvent(TWO, ONE, unit="a"), LaplaceEvent(TWO, ONE, unit="b")))),
        ("unit", lambda: SelfComposedEvent(LaplaceEvent(TWO, ONE, unit="a"), 2, unit="b")),
    ]
    for name, make in mixed:
        assert field_of(make) == name


def test_a_composition_takes_what_its_parts_state() -> None:
    """Unit and adjacency rise to the top, so that whoever admits the whole can see them."""
    inner = SelfComposedEvent(LaplaceEvent(TWO, ONE, unit="patient"), 2)
    whole = ComposedEvent((inner, POISSON))
    assert (whole.unit, whole.adjacency) == ("patient", ADD)
    assert (ComposedEvent((LAPLACE,)).unit, ComposedEvent((LAPLACE,)).adjacency) == (None, None)


# Compositions.


def test_an_empty_composition_is_refused() -> None:
    """An event that does nothing is a mistake, and free."""
    assert field_of(lambda: ComposedEvent(())) == "events"
    assert field_of(lambda: ParallelEvent(())) == "parts"


def test_a_partition_is_named_once() -> None:
    """Two events on one partition compose; counting them as parallel would halve their price."""
    assert field_of(lambda: ParallelEvent((("a", LAPLACE), ("b", LAPLACE), ("a", LAPLACE)))) == "parts"


def test_a_sample_of_fixed_size_is_not_drawn_within_partitions() -> None:
    """A unit that moves changes the number of units in two partitions, which its theorem takes for fixed."""
    for inside in (FIXED, SelfComposedEvent(FIXED, 2), ComposedEvent((LAPLACE, FIXED))):
        assert field_of(lambda inside=inside: ParallelEvent((("a", LAPLACE), ("b", inside)))) == "parts"  # type: ignore[misc]


def nested(depth: int) -> Event:
    """A composition that many levels deep."""
    event: Event = LAPLACE
    for _ in range(depth):
        event = ComposedEvent((event,))
    return event


def test_compositions_nest_only_so_deep() -> None:
    """The last level allowed is built, the next one is not, whichever composition makes it."""
    deepest = nested(MAX_DEPTH)
    makers: list[Callable[[], object]] = [
        lambda: ComposedEvent((LAPLACE, deepest)),
        lambda: SelfComposedEvent(deepest, 1),
        lambda: ParallelEvent((("a", LAPLACE), ("b", deepest))),
    ]
    for make in makers:
        assert field_of(make) == "event"


def deep_wire(depth: int, inside: Callable[[object], dict[str, Any]]) -> object:
    """Data nested that deep, without a class to stop it."""
    data: object = EXAMPLES["laplace"]
    for _ in range(depth):
        data = inside(data)
    return data


INSIDE: list[Callable[[object], dict[str, Any]]] = [
    lambda data: {"kind": "composed", "events": [data]},
    lambda data: {"kind": "self_composed", "event": data, "count": 1},
    lambda data: {"kind": "parallel", "parts": [["a", data]]},
]


@pytest.mark.parametrize("inside", INSIDE)
def test_data_of_any_depth_are_refused_without_descending(inside: Callable[[object], dict[str, Any]]) -> None:
    """A hundred thousand levels are refused like one too many, instead of exhausting the stack."""
    assert event_from_wire(deep_wire(MAX_DEPTH, inside)) is not None
    for depth in (MAX_DEPTH + 1, 100_000):
        data = deep_wire(depth, inside)
        assert field_of(lambda data=data: event_from_wire(data)) == "event"  # type: ignore[misc]


def test_a_composition_holds_only_so_many_events() -> None:
    """Counted through all levels; the last that fits is accepted."""
    most = ComposedEvent((LAPLACE,) * MAX_LEAVES)
    assert len(most.events) == MAX_LEAVES
    assert field_of(lambda: ComposedEvent((most, LAPLACE))) == "event"
    assert field_of(lambda: SelfComposedEvent(ComposedEvent((LAPLACE,) * (MAX_LEAVES + 1)), 1)) == "event"


@pytest.mark.parametrize(("kind", "name"), [("composed", "events"), ("parallel", "parts")])
def test_a_list_that_is_too_long_is_refused_unread(kind: str, name: str) -> None:
    """Its length alone is the reason, before any part of it is looked at."""
    data = EXAMPLES[kind] | {name: ["nonsense"] * (MAX_LEAVES + 1)}
    with pytest.raises(InvalidValueError, match=rf"^event\.{name}: must hold at most {MAX_LEAVES}, not 1001"):
        event_from_wire(data)
    shorter = EXAMPLES[kind] | {name: ["nonsense"] * MAX_LEAVES}
    assert field_of(lambda: event_from_wire(shorter)) == f"event.{name}[0]"


def test_counts_multiply_up_to_their_bound() -> None:
    """Neither nesting nor adding gets more operations into one event than its bound allows."""
    half = SelfComposedEvent(LAPLACE, MAX_COUNT // 2)
    assert SelfComposedEvent(half, 2).count == 2
    assert field_of(lambda: SelfComposedEvent(half, 3)) == "count"
    assert field_of(lambda: ComposedEvent((half, half, LAPLACE))) == "count"
    assert ComposedEvent((half, half)).events == (half, half)


def test_an_events_parts_and_leaves_are_what_it_is_made_of() -> None:
    """Counts multiply on the way down; what runs in parallel is one operation of its own."""
    parallel = ParallelEvent((("a", LAPLACE), ("b", POISSON)))
    whole = ComposedEvent((SelfComposedEvent(ComposedEvent((LAPLACE, SelfComposedEvent(POISSON, 3))), 5), parallel))
    assert parts_of(whole) == whole.events
    assert parts_of(parallel) == (LAPLACE, POISSON)
    assert parts_of(SelfComposedEvent(LAPLACE, 2)) == (LAPLACE,)
    assert parts_of(LAPLACE) == ()
    assert list(leaves(whole)) == [(LAPLACE, 5), (POISSON, 15), (parallel, 1)]


# Data that are not an event.


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (None, "event"),
        ("laplace", "event"),
        ([], "event"),
        ({}, "event.kind"),
        ({"scale": "1", "sensitivity": "1"}, "event.kind"),
        ({"kind": "advanced"}, "event.kind"),
        ({"kind": ["laplace"]}, "event.kind"),
        ({"kind": None}, "event.kind"),
        ({"kind": "laplace", "scale": "1"}, "event.sensitivity"),
        ({"kind": "laplace", "scale": "1", "sensitivity": "1", "count": 2}, "event.count"),
        ({"kind": "laplace", "scale": "1", "sensitivity": "1", "sigma": "1"}, "event.sigma"),
        ({"kind": "laplace", "version": 2, "scale": "1", "sensitivity": "1"}, "event.version"),
        ({"kind": "laplace", "version": True, "scale": "1", "sensitivity": "1"}, "event.version"),
        ({"kind": "laplace", "version": "1", "scale": "1", "sensitivity": "1"}, "event.version"),
        ({"kind": "composed", "events": [EXAMPLES["laplace"], {"kind": "zcdp"}]}, "event.events[1].rho"),
        ({"kind": "composed", "events": []}, "event.events"),
        ({"kind": "composed", "events": [EXAMPLES["laplace"], 3]}, "event.events[1]"),
        ({"kind": "self_composed", "count": 2, "event": EXAMPLES["laplace"] | {"scale": "0"}}, "event.event.scale"),
        ({"kind": "parallel", "parts": [["a"]]}, "event.parts[0]"),
        ({"kind": "parallel", "parts": [["a", EXAMPLES["laplace"], 1]]}, "event.parts[0]"),
        ({"kind": "parallel", "parts": [[1, EXAMPLES["laplace"]]]}, "event.parts[0]"),
        ({"kind": "parallel", "parts": ["ab"]}, "event.parts[0]"),
        ({"kind": "parallel", "parts": [["a", EXAMPLES["laplace"] | {"scale": "0"}]]}, "event.parts[0].scale"),
    ],
)
def test_an_event_that_is_not_fully_understood_is_refused(data: object, field: str) -> None:
    """A member that were passed over could be the one that makes it dearer; the refusal names where it stands."""
    assert field_of(lambda: event_from_wire(data)) == field


def test_the_caller_may_name_where_the_data_stand() -> None:
    """Refusals then speak of the caller's own field."""
    broken: Mapping[str, object] = EXAMPLES["laplace"] | {"scale": "0"}
    assert field_of(lambda: event_from_wire(broken, "steps[3]")) == "steps[3].scale"
