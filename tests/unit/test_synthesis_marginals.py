"""The marginal engine draws what its plan is charged for, and its rows are like the table's."""

import json
from collections import Counter
from decimal import Decimal
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from accounting.events import Adjacency, Event, ExponentialEvent, leaves
from accounting.plans import price_plan
from accounting.values import InvalidValueError
from benchmarks.adult import mean_variation
from deployments.synthesis import marginal
from deployments.synthesis.draws import Counts, Draws
from deployments.synthesis.marginal import fit
from deployments.synthesis.marginal_inference import Measurement, infer, total_of
from deployments.synthesis.marginal_model import MarginalModel, Node, model_from_wire, model_to_wire
from deployments.synthesis.marginal_plan import MAX_COUNTED, SCORE_REACH, MarginalPlan, marginal_plan
from deployments.synthesis.marginal_structure import Candidate, candidates, counts_of, first_nodes, score
from deployments.synthesis.schema import Category, Number, Schema, evenly
from deployments.synthesis.table import Table, decode, encode

DELTA = Decimal("0.0001")
MEASURED = ("mean radius", "mean texture", "mean smoothness", "mean concavity", "mean symmetry")
BOUNDS = ((0, 40), (0, 50), (0.0, 0.2), (0.0, 0.5), (0.0, 0.4))
SCHEMA = Schema(
    (
        *(
            Number(name, evenly(lower, upper, 4 + at))
            for at, (name, (lower, upper)) in enumerate(zip(MEASURED, BOUNDS, strict=True))
        ),
        Category("diagnosis", ("malignant", "benign")),
    )
)
ROWS = 569


@cache
def patients() -> Table:
    """Measurements of 569 tumours, in public bins."""
    data = load_breast_cancer()
    columns: dict[str, Any] = {name: data.data[:, list(data.feature_names).index(name)] for name in MEASURED}
    return encode(columns | {"diagnosis": [data.target_names[at] for at in data.target]}, SCHEMA)


@cache
def plan_for(epsilon: str, target: str | None = "diagnosis") -> MarginalPlan:
    """A plan for the patients."""
    return marginal_plan(SCHEMA, ROWS, Decimal(epsilon), DELTA, target)


@cache
def large_model() -> MarginalModel:
    """Fitted with next to no noise."""
    return fit(patients(), plan_for("5000"))


@pytest.mark.parametrize("target", ["diagnosis", None])
@pytest.mark.parametrize("epsilon", ["0.1", "1", "10"])
def test_a_plan_costs_what_was_asked_for_and_hardly_less(epsilon: str, target: str | None) -> None:
    """The tightest price of its event is at most epsilon, and the least noise is used."""
    plan = plan_for(epsilon, target)
    assert plan.loss == price_plan(plan.event, DELTA).loss
    assert Decimal(epsilon) * Decimal("0.999999") <= plan.loss.epsilon <= Decimal(epsilon)
    assert plan.loss.delta == DELTA
    assert plan.event.adjacency is Adjacency.ADD_REMOVE


def test_a_plan_follows_from_public_inputs_alone() -> None:
    """The same schema, rows, epsilon, delta and target make the same plan."""
    again = marginal_plan(SCHEMA, ROWS, Decimal(1), DELTA, "diagnosis")
    assert again == plan_for("1")


@pytest.mark.parametrize("target", ["diagnosis", None])
def test_what_is_drawn_is_the_plans_event(target: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation of the event is done as often as it says, and no other."""
    drawn, made = Counter[Event](), []

    class Watched(Draws):
        def __init__(self, event: Event, delta: Decimal) -> None:
            super().__init__(event, delta)
            made.append(self)

        def _take(self, leaf: Event) -> None:
            super()._take(leaf)
            drawn[leaf] += 1

    monkeypatch.setattr(marginal, "Draws", Watched)
    plan = plan_for("1", target)
    fit(patients(), plan)
    expected = Counter[Event]()
    for leaf, count in leaves(plan.event):
        expected[leaf] += count
    assert drawn == expected
    assert [draws.left for draws in made] == [0]


def test_no_noise_is_drawn_beyond_the_event() -> None:
    """An operation once more than charged is refused, one that is not in the event too."""
    plan = marginal_plan(Schema((Category("a", ("x",)),)), ROWS, Decimal(1), DELTA)
    draws = Draws(plan.event, plan.delta)
    assert draws.noisy(plan.single, np.array([3, 4])).shape == (2,)
    with pytest.raises(RuntimeError, match="not charged"):
        draws.noisy(plan.single, np.array([3, 4]))
    with pytest.raises(RuntimeError, match="not charged"):
        draws.choose(plan_for("1").choice, [1.0, 2.0])


def test_noise_has_the_deviation_of_its_event() -> None:
    """10,000 counts stray with the event's sigma, within six standard errors."""
    plan = plan_for("1")
    noise = Draws(plan.event, plan.delta).noisy(plan.joint, np.zeros((100, 100), dtype=np.int64))
    expected = float(plan.joint.sigma)
    assert abs(noise.std() / expected - 1) < 6 / np.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 6 * expected / 100


rows_of_patients = st.tuples(*(st.integers(0, size - 1) for size in SCHEMA.sizes))


@given(st.lists(rows_of_patients, min_size=1, max_size=30), rows_of_patients, st.sets(st.integers(0, 5), min_size=1))
def test_one_record_moves_counts_by_one(rows: list[tuple[int, ...]], added: tuple[int, ...], columns: set[int]) -> None:
    """In the L2 norm, and in the L1 norm; whichever columns are counted."""
    one, other = (Table(SCHEMA, np.array(those)) for those in (rows, [*rows, added]))
    moved = counts_of(other, sorted(columns)) - counts_of(one, sorted(columns))
    assert (np.abs(moved).sum(), (moved**2).sum()) == (1, 1)


@given(
    st.lists(rows_of_patients, min_size=1, max_size=30),
    rows_of_patients,
    st.sampled_from(["diagnosis", None]),
    st.sets(st.integers(0, 3), max_size=2),
    st.integers(0, 2**32),
)
def test_one_record_moves_a_score_by_less_than_is_charged(
    rows: list[tuple[int, ...]], added: tuple[int, ...], target: str | None, beside: set[int], seed: int
) -> None:
    """Whatever the noisy counts were that a candidate is compared with."""
    plan, candidate = plan_for("1", target), Candidate(4, tuple(beside))
    shape = [SCHEMA.sizes[column] for column in (4, *plan.beside)]
    chances = np.random.default_rng(seed).dirichlet(np.full(shape[0], 0.1), shape[1:]).T.reshape(shape)
    one, other = (score(plan, Table(SCHEMA, np.array(those)), candidate, chances) for those in (rows, [*rows, added]))
    assert abs(one - other) <= 2 + 1e-9 < SCORE_REACH


def test_scores_tell_what_depends_from_what_does_not() -> None:
    """A column that repeats another one scores highest beside it."""
    codes = np.random.default_rng(5).integers(0, 4, (400, 3), dtype=np.int32)
    codes[:, 2] = codes[:, 0]
    schema = Schema(tuple(Number(name, evenly(0, 4, 4)) for name in "abc"))
    plan = marginal_plan(schema, 400, Decimal(10), DELTA)
    even = np.full(4, 0.25)
    beside_a, beside_b = (score(plan, Table(schema, codes), Candidate(2, (place,)), even) for place in (0, 1))
    assert beside_a > beside_b + 300


@given(st.integers(0, 2**32))
def test_whatever_is_chosen_the_graph_is_chordal(seed: int) -> None:
    """The parents of every node are in the clique of the latest of them."""
    generator, plan = np.random.default_rng(seed), plan_for("10")
    nodes = first_nodes(plan)
    while len(nodes) < len(SCHEMA.columns):
        found = candidates(plan, nodes)
        chosen = found[generator.integers(len(found))]
        nodes.append(Node(chosen.column, (*chosen.beside, *plan.beside)))
    cliques = {node.column: node.clique for node in nodes}
    assert sorted(cliques) == list(range(len(SCHEMA.columns)))
    for node in nodes:
        assert not node.parents or set(node.parents) <= set(cliques[node.parents[0]])


@pytest.mark.parametrize(("records", "parents"), [(10**5, 2), (10**7, 1)])
def test_scoring_counts_no_more_rows_than_the_plan_allows(records: int, parents: int) -> None:
    """With many rows a column has fewer parents; all candidates together stay within what is allowed."""
    schema = Schema(tuple(Category(f"c{at}", ("a",)) for at in range(30)))
    plan = marginal_plan(schema, records, Decimal(1), Decimal("0.00000001"))
    generator, nodes, seen = np.random.default_rng(12), first_nodes(plan), set[Candidate]()
    while len(nodes) < 30:
        found = candidates(plan, nodes)
        seen.update(found)
        chosen = found[generator.integers(len(found))]
        nodes.append(Node(chosen.column, chosen.beside))
    assert max(len(candidate.beside) for candidate in seen) == parents == plan.parents
    assert len(seen) * records <= MAX_COUNTED


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_inference_finds_the_distribution_that_was_measured(seed: int) -> None:
    """Exact marginals of a chain of three columns give back its joint distribution."""
    generator = np.random.default_rng(seed)
    first = generator.dirichlet(np.ones(3))
    second = generator.dirichlet(np.ones(2), 3).T
    third = generator.dirichlet(np.ones(4), (2, 3)).transpose(2, 0, 1)
    nodes = [Node(0, ()), Node(1, (0,)), Node(2, (1, 0))]
    joint = third * (second * first)
    measured = [Measurement(1, (0, 1), 1000 * second * first, 1.0), Measurement(2, (0, 1, 2), 1000 * joint, 1.0)]
    one, two, three = infer(nodes, (3, 2, 4), measured)
    assert np.abs(three * (two * one) - joint).sum() < 0.01


def test_inference_reconciles_marginals_that_disagree() -> None:
    """Between two counts of one column, in proportion to their precision, and never negative."""
    measured = [
        Measurement(0, (0,), np.array([100.0, 0.0, -20.0]), 1.0),
        Measurement(0, (0,), np.array([50.0, 50.0, -20.0]), 1.0),
    ]
    assert total_of(measured) == 80
    (found,) = infer([Node(0, ())], (3,), measured)
    assert found == pytest.approx([0.8125, 0.1875, 0], abs=0.001)


def test_the_total_of_counts_below_nothing_is_one() -> None:
    """So that shares of it exist."""
    assert total_of([Measurement(0, (0,), np.array([-5.0, 1.0]), 3.0)]) == 1


def test_with_next_to_no_noise_the_statistics_are_the_tables() -> None:
    """Single columns to a part in a hundred; pairs better by far than of columns drawn apart."""
    table, rows = patients(), large_model().sample(20_000, np.random.default_rng(6))
    apart = np.array([np.random.default_rng(at).permutation(table.codes[:, at]) for at in range(6)]).T
    singles, pairs = (list(combinations(range(6), size)) for size in (1, 2))
    assert mean_variation(rows, table, singles) < 0.01
    assert mean_variation(rows, table, pairs) < mean_variation(Table(SCHEMA, apart), table, pairs) / 4


def test_every_column_is_like_the_tables_together_with_the_target() -> None:
    """That is what a target is declared for."""
    rows = large_model().sample(20_000, np.random.default_rng(7))
    assert mean_variation(rows, patients(), [(column, 5) for column in range(5)]) < 0.01


def test_sampled_rows_have_the_inputs_types() -> None:
    """Decoded, they are what the table's owner could have uploaded."""
    columns = decode(large_model().sample(50, np.random.default_rng(8)), np.random.default_rng(9))
    assert tuple(columns) == SCHEMA.names
    assert {type(value) for value in columns["mean radius"]} == {float}
    assert set(columns["diagnosis"]) == {"malignant", "benign"}


def test_equal_generators_draw_equal_rows() -> None:
    """Rows follow from the model and the caller's generator alone."""
    one, other = (large_model().sample(100, np.random.default_rng(10)) for _ in range(2))
    assert np.array_equal(one.codes, other.codes)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda ones: sum(ones) > 0.1), st.integers(1, 200))
def test_each_code_is_drawn_as_often_as_expected(weights: list[float], rows: int) -> None:
    """Up to one time."""
    chances = np.array(weights) / sum(weights)
    schema = Schema((Number("n", evenly(0, 1, len(weights))),))
    model = MarginalModel(schema, (Node(0, ()),), (chances,))
    drawn = np.bincount(model.sample(rows, np.random.default_rng(rows)).codes[:, 0], minlength=len(weights))
    assert (np.abs(drawn - rows * chances) <= 1 + 1e-9).all()


def test_a_model_survives_json() -> None:
    """What is read draws the very rows that what was written does."""
    read = model_from_wire(json.loads(json.dumps(model_to_wire(large_model()))))
    one, other = (model.sample(100, np.random.default_rng(11)) for model in (large_model(), read))
    assert np.array_equal(one.codes, other.codes)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("version",), 2, "model.version"),
        (("schema",), {}, "model.schema.columns"),
        (("nodes",), {}, "model.nodes"),
        (("nodes",), [], "nodes"),
        (("nodes", 1, "column"), 99, "model.nodes[1]"),
        (("nodes", 1, "column"), -1, "model.nodes[1]"),
        (("nodes", 1, "column"), "a", "model.nodes[1].column"),
        (("nodes", 0, "conditional", 0), 2.0, "conditionals[0]"),
        (("nodes", 0, "conditional", 0), float("nan"), "conditionals[0]"),
        (("nodes", 0, "conditional", 0), None, "model.nodes[0].conditional[0]"),
        (("nodes", 0, "conditional"), [1.0], "model.nodes[0].conditional"),
        (("nodes", 0, "extra"), 1, "model.nodes[0].extra"),
    ],
)
def test_what_is_no_model_is_refused(path: tuple[str | int, ...], value: object, field: str) -> None:
    """By the path of what is wrong."""
    data: Any = model_to_wire(large_model())
    *way, last = path
    part = data
    for step in way:
        part = part[step]
    part[last] = value
    with pytest.raises(InvalidValueError) as refused:
        model_from_wire(data)
    assert refused.value.field == field


def test_a_node_before_its_parents_is_refused() -> None:
    """Rows could not be drawn in that order."""
    data = model_to_wire(large_model())
    data["nodes"].reverse()
    with pytest.raises(InvalidValueError, match="come before"):
        model_from_wire(data)


@pytest.mark.parametrize("rows", [0, 10**9])
def test_a_number_of_rows_out_of_range_is_refused(rows: int) -> None:
    """At least one, and not more than memory holds."""
    with pytest.raises(InvalidValueError) as refused:
        large_model().sample(rows, np.random.default_rng(0))
    assert refused.value.field == "rows"


def test_one_column_is_measured_once_and_nothing_chosen() -> None:
    """The event of its plan has no choice, and its model is that column's."""
    schema = Schema((Category("a", ("x", "y")),))
    plan = marginal_plan(schema, 100, Decimal(1), DELTA)
    assert not any(isinstance(leaf, ExponentialEvent) for leaf, _ in leaves(plan.event))
    table = Table(schema, np.array([[0]] * 90 + [[1]] * 10))
    share = fit(table, plan).conditionals[0][0]
    assert 0.5 < share <= 1


def test_a_plan_for_another_schema_is_refused_before_any_noise() -> None:
    """Nothing is drawn from a table that the plan does not know."""
    other = marginal_plan(Schema(SCHEMA.columns[:2]), ROWS, Decimal(1), DELTA)
    with pytest.raises(InvalidValueError) as refused:
        fit(patients(), other)
    assert refused.value.field == "schema"


WIDE = Schema((Number("n", evenly(0, 1, 600)), Category("t", ("x",))))


@pytest.mark.parametrize(
    ("schema", "records", "epsilon", "delta", "target", "field"),
    [
        (SCHEMA, 99, "1", "0.0001", None, "records"),
        (Schema(tuple(Category(f"c{at}", ("a",)) for at in range(20))), 10**8, "1", "1e-10", None, "records"),
        (SCHEMA, ROWS, "0", "0.0001", None, "epsilon"),
        (SCHEMA, ROWS, "1", "0", None, "delta"),
        (SCHEMA, ROWS, "1", "0.002", None, "delta"),
        (SCHEMA, ROWS, "1", "0.0001", "height", "target"),
        (SCHEMA, ROWS, "1", "0.0001", "mean radius", "target"),
        (Schema(SCHEMA.columns[5:]), ROWS, "1", "0.0001", "diagnosis", "target"),
        (WIDE, 599, "1", "0.0001", None, "n"),
        (WIDE, 1199, "1", "0.0001", "t", "n"),
        (Schema(tuple(Category(f"c{at}", ("a",)) for at in range(129))), ROWS, "1", "0.0001", None, "columns"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    schema: Schema, records: int, epsilon: str, delta: str, target: str | None, field: str
) -> None:
    """Too few rows, too wide a column, a delta that protects nobody, a target that is none."""
    with pytest.raises(InvalidValueError) as refused:
        marginal_plan(schema, records, Decimal(epsilon), Decimal(delta), target)
    assert refused.value.field == field


def test_the_noise_is_not_the_callers_to_repeat() -> None:
    """Two fits differ, though every generator that a caller could seed is seeded alike."""
    found = []
    for _ in range(2):
        np.random.seed(0)
        found.append(fit(patients(), plan_for("1")).conditionals[0])
    assert not np.array_equal(found[0], found[1])


def test_counts_are_whole() -> None:
    """As the noise on them is, so no bit of a sum's rounding betrays a record."""
    counts: Counts = counts_of(patients(), (0, 5))
    assert counts.dtype == np.int64
    assert counts.sum() == ROWS
