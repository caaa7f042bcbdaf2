"""The census income data (UCI Adult): its public schema, its files, and how a synthetic copy of it is scored.

The data are not part of the project. What is public of them stands here: the categories of `adult.names`, and bins that
follow from what a column means (years of age, hours of a week), not from its values. The sampling weight and the number
of school years, which repeats the education, are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from deployments.synthesis.files import read_table
from deployments.synthesis.schema import Category, Number, Schema
from deployments.synthesis.table import Table

TARGET = "income"
TRAIN, TEST = "adult_train.csv", "adult_test.csv"

_CATEGORIES = {
    "workclass": "Private Self-emp-not-inc Self-emp-inc Federal-gov Local-gov State-gov Without-pay Never-worked ?",
    "education": "Preschool 1st-4th 5th-6th 7th-8th 9th 10th 11th 12th HS-grad Some-college Assoc-voc Assoc-acdm "
    "Bachelors Masters Prof-school Doctorate",
    "marital_status": "Married-civ-spouse Divorced Never-married Separated Widowed Married-spouse-absent "
    "Married-AF-spouse",
    "occupation": "Tech-support Craft-repair Other-service Sales Exec-managerial Prof-specialty Handlers-cleaners "
    "Machine-op-inspct Adm-clerical Farming-fishing Transport-moving Priv-house-serv Protective-serv Armed-Forces ?",
    "relationship": "Wife Own-child Husband Not-in-family Other-relative Unmarried",
    "race": "White Asian-Pac-Islander Amer-Indian-Eskimo Other Black",
    "sex": "Female Male",
    "native_country": "United-States Cambodia England Puerto-Rico Canada Germany Outlying-US(Guam-USVI-etc) India "
    "Japan Greece South China Cuba Iran Honduras Philippines Italy Poland Jamaica Vietnam Mexico Portugal Ireland "
    "France Dominican-Republic Laos Ecuador Taiwan Haiti Columbia Hungary Guatemala Nicaragua Scotland Thailand "
    "Yugoslavia El-Salvador Trinadad&Tobago Peru Hong Holand-Netherlands ?",
    "income": "<=50K >50K",
}
_EDGES: dict[str, tuple[int, ...]] = {
    "age": (0, 20, *range(25, 70, 5), 75, 120),
    "capital_gain": (0, 1, 2_500, 5_000, 7_500, 10_000, 20_000, 100_000),
    "capital_loss": (0, 1, 500, 1_000, 1_500, 2_000, 2_500, 10_000),
    "hours_per_week": (0, 10, 20, 30, 35, 40, 41, 45, 50, 55, 60, 70, 168),
}
_COLUMNS = (
    "age workclass education marital_status occupation relationship race sex capital_gain capital_loss hours_per_week "
    "native_country income"
).split()


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a synthetic table is.

    Attributes:
        boosted_auc: Area under the curve, on real test rows, of gradient boosting that learned from synthetic ones.
        linear_auc: The same of a logistic regression.
        one_way: Mean total variation from the real training rows over all columns.
        two_way: The same over all pairs of columns.
    """

    boosted_auc: float
    linear_auc: float
    one_way: float
    two_way: float


def adult_schema() -> Schema:
    """The 13 public columns."""
    return Schema(
        tuple(
            Number(name, tuple(map(float, _EDGES[name])), whole=True)
            if name in _EDGES
            else Category(name, tuple(_CATEGORIES[name].split()))
            for name in _COLUMNS
        )
    )


def read_adult(folder: Path) -> tuple[Table, Table]:
    """The rows to synthesise and the rows to test on.

    Raises:
        InvalidValueError: If a file is not in the folder.
    """
    schema = adult_schema()
    return read_table(folder / TRAIN, schema), read_table(folder / TEST, schema)


def score(synthetic: Table, test: Table, train: Table, target: str = TARGET) -> Scores:
    """Trains on synthetic rows and tests on real ones; compares the statistics with those of the real training rows.

    Args:
        synthetic: What a model sampled.
        test: Real rows that the model has not seen.
        train: The real rows that it was fitted to.
        target: A category; whether it has the second of its values is learned.
    """
    place = synthetic.schema.index(target)
    learned, tested = ((_features(table, place), table.codes[:, place] == 1) for table in (synthetic, test))
    boosted = HistGradientBoostingClassifier(random_state=0)
    linear = LogisticRegression(max_iter=300)
    encoder = OneHotEncoder(categories=[range(size) for size in _features_sizes(synthetic.schema, place)])
    encoder.fit(learned[0])
    places = range(len(synthetic.schema.columns))
    return Scores(
        _auc(boosted, learned[0], learned[1], tested[0], tested[1]),
        _auc(linear, encoder.transform(learned[0]), learned[1], encoder.transform(tested[0]), tested[1]),
        mean_variation(synthetic, train, list(combinations(places, 1))),
        mean_variation(synthetic, train, list(combinations(places, 2))),
    )


def mean_variation(table: Table, other: Table, sets: Sequence[tuple[int, ...]]) -> float:
    """The mean total variation between two tables' marginals on sets of columns."""
    return float(np.mean([abs(_shares(table, columns) - _shares(other, columns)).sum() / 2 for columns in sets]))


def _shares(table: Table, columns: tuple[int, ...]) -> npt.NDArray[np.float64]:
    sizes = [table.schema.sizes[column] for column in columns]
    cells = np.ravel_multi_index(tuple(table.codes[:, column] for column in columns), sizes)
    return np.bincount(cells, minlength=int(np.prod(sizes))) / table.rows


def _features(table: Table, place: int) -> npt.NDArray[np.int32]:
    return np.delete(table.codes, place, axis=1)


def _features_sizes(schema: Schema, place: int) -> list[int]:
    return [size for at, size in enumerate(schema.sizes) if at != place]


def _auc(
    model: HistGradientBoostingClassifier | LogisticRegression,
    rows: object,
    truth: npt.NDArray[np.bool_],
    test_rows: object,
    test_truth: npt.NDArray[np.bool_],
) -> float:
    if truth.all() or not truth.any():
        # Nothing can be learned from one class alone.
        return 0.5
    return float(roc_auc_score(test_truth, model.fit(rows, truth).predict_proba(test_rows)[:, 1]))
