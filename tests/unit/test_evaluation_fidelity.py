"""Distances between tables are what they are by hand, and tests of equality err as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accounting.values import InvalidValueError
from deployments.evaluation import fidelity as module
from deployments.evaluation.fidelity import LEAST_EXPECTED, chi_square, fidelity, kolmogorov_smirnov, variation
from deployments.synthesis.schema import Category, Number, Schema
from deployments.synthesis.table import Table
from tests.unit.evaluation_helpers import digits, rows_of, shuffled

SMALL = Schema((Category("c", ("a", "b")), Number("n", (0.0, 10.0, 20.0, 40.0), missing=True)))


def table(*rows: tuple[int, int]) -> Table:
    """Rows of the small schema."""
    return Table(SMALL, np.array(rows, dtype=np.int32))


def test_a_table_is_not_away_from_itself() -> None:
    """All distances are 0, and nothing is surprising."""
    found = fidelity(digits(), digits())
    assert (found.one_way, found.two_way) == (0.0, 0.0)
    assert all(one.kolmogorov_smirnov.p_value == 1.0 for one in found.columns if one.kolmogorov_smirnov is not None)
    assert found.columns[-1].chi_square is not None
    assert found.columns[-1].chi_square.p_value == pytest.approx(1.0)


def test_distances_are_those_by_hand() -> None:
    """Two tables of four rows: shares, midpoints 5, 15 and 30, and a missing value that no distance of numbers has."""
    found = fidelity(table((0, 0), (0, 0), (1, 1), (1, 3)), table((0, 0), (1, 1), (1, 2), (2, 2)))
    category, number = found.columns
    assert category.total_variation == pytest.approx(0.25)
    assert number.total_variation == pytest.approx(0.5)
    # Without the missing one: thirds (2, 1, 0) against fourths (1, 1, 2).
    assert number.kolmogorov_smirnov is not None
    assert number.kolmogorov_smirnov.statistic == pytest.approx(0.5)
    assert number.wasserstein == pytest.approx((2 / 3 - 1 / 4) * 10 + (1 - 1 / 2) * 15)
    assert number.wasserstein_of_range == pytest.approx((number.wasserstein or 0) / 40)
    # Joint shares: (0,0) 2 against 1, (1,1) 1 and 1, (1,3) 1 and 0, (1,2) and (2,2) 0 and 1.
    assert found.two_way == pytest.approx(0.5)


def test_what_held_between_columns_is_missed_by_single_columns_and_seen_by_pairs() -> None:
    """Shuffled columns keep every share of their own."""
    found = fidelity(shuffled(digits()), digits())
    assert found.one_way == 0.0
    assert found.two_way > 0.1
    assert found.worst[0].total_variation == max(pair.total_variation for pair in found.worst)


Rows = list[tuple[int, int]]
codes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30)


@given(codes, codes)
def test_pairs_are_at_least_as_far_apart_as_their_columns(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    """Total variation is between 0 and 1, the same either way round, and no smaller for more columns."""
    found, back = fidelity(table(*ours), table(*theirs)), fidelity(table(*theirs), table(*ours))
    assert 0 <= found.two_way <= 1 + 1e-12
    assert found.two_way == pytest.approx(back.two_way)
    assert all(column.total_variation <= found.two_way + 1e-12 for column in found.columns)


def test_pairs_of_many_values_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting only the values that occur gives what counting all gives."""
    in_full = fidelity(shuffled(digits()), digits())
    monkeypatch.setattr(module, "_LARGEST_TABLE", 0)
    assert fidelity(shuffled(digits()), digits()).two_way == pytest.approx(in_full.two_way)


def test_of_very_many_pairs_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are allowed, and their number is told."""
    monkeypatch.setattr(module, "MOST_PAIRS", 7)
    assert fidelity(shuffled(digits()), digits()).pairs == 7


def test_a_column_of_missing_values_has_no_distance_of_numbers() -> None:
    """It has a total variation all the same."""
    found = fidelity(table((0, 3), (0, 3)), table((0, 0), (0, 3))).columns[1]
    assert found.total_variation == pytest.approx(0.5)
    assert (found.kolmogorov_smirnov, found.wasserstein) == (None, None)


def test_tables_of_different_schemas_are_refused() -> None:
    """Equal codes of different columns would look alike."""
    other = Table(Schema((Category("c", ("b", "a")), SMALL.columns[1])), np.array([[0, 0]]))
    with pytest.raises(InvalidValueError, match="schema"):
        fidelity(table((0, 0)), other)


def test_kolmogorov_and_smirnovs_test_is_scipys() -> None:
    """Of the values themselves, by the limit of many."""
    rng = np.random.default_rng(3)
    ours, theirs = rng.integers(0, 8, 300), rng.integers(0, 9, 500)
    found = kolmogorov_smirnov(np.bincount(ours, minlength=9), np.bincount(theirs, minlength=9))
    expected = stats.ks_2samp(ours, theirs, method="asymp")
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def test_chi_square_without_rare_categories_is_pearsons() -> None:
    """Nothing is pooled then."""
    ours, theirs = np.array([50, 60, 70, 0]), np.array([40, 80, 60, 0])
    found = chi_square(ours, theirs)
    expected = stats.chi2_contingency(np.stack([ours, theirs])[:, :3], correction=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.note == "No category was rare."


def test_rare_categories_are_counted_as_one() -> None:
    """Three of which hardly any are expected make one, and the note says so."""
    ours, theirs = np.array([50, 60, 3, 4, 2]), np.array([40, 80, 2, 4, 4])
    found = chi_square(ours, theirs)
    expected = stats.chi2_contingency(np.array([[50, 60, 9], [40, 80, 10]]), correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert "3 rare categories" in found.note


def test_one_rare_category_is_counted_with_the_rarest_other() -> None:
    """Alone it would still be rare."""
    found = chi_square(np.array([50, 60, 1]), np.array([40, 80, 0]))
    expected = stats.chi2_contingency(np.array([[51, 60], [40, 80]]), correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert "rarest" in found.note


def test_too_few_rows_test_nothing() -> None:
    """There is no p-value where all categories are rare."""
    found = chi_square(np.array([2, 1]), np.array([1, 1]))
    assert found.p_value is None
    assert "nothing to test" in found.note


def test_the_chi_square_of_many_rare_categories_errs_as_often_as_it_says() -> None:
    """Of samples from one long-tailed distribution, about one in twenty has a p-value below 0.05."""
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(1, 61) ** 1.5
    shares /= shares.sum()
    found = [chi_square(rng.multinomial(300, shares), rng.multinomial(500, shares)).p_value for _ in range(400)]
    low, high = stats.binom.ppf([0.0005, 0.9995], 400, 0.05)
    assert low <= sum(p is not None and p < 0.05 for p in found) <= high


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.lists(st.integers(0, 40), min_size=12, max_size=12))
def test_every_count_has_an_answer(ours: list[int], theirs: list[int]) -> None:
    """No warning, no NaN: a p-value in [0, 1] or none."""
    first, second = np.array([1, *ours]), np.array([1, *theirs[: len(ours)]])
    found = chi_square(first, second)
    assert found.p_value is None or 0 <= found.p_value <= 1
    assert found.p_value is not None or min(first.sum(), second.sum()) < 30 * LEAST_EXPECTED


def test_real_rows_are_nearer_to_real_rows_than_shuffled_ones() -> None:
    """What is reported beside the synthetic rows is a floor."""
    all_rows = digits()
    train, holdout = rows_of(all_rows, 0, 900), rows_of(all_rows, 900, 1797)
    assert fidelity(holdout, train).two_way < fidelity(shuffled(train), train).two_way
    assert variation(np.array([1, 1]), np.array([2, 2])) == 0.0
