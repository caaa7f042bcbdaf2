"""What synthetic rows are worth to who learns from them: trained on synthetic, tested on real; on real beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.evaluation.fidelity import check_same_schema, midpoints
from deployments.synthesis.schema import Category, Number
from deployments.synthesis.table import Table

Values = npt.NDArray[np.float64]

BOOSTING, LINEAR = "gradient boosting", "linear"
SYNTHETIC, REAL = "synthetic", "real"
_NOTHING_TO_LEARN = "The rows to learn from have one class alone, so every row is given that one."


@dataclass(frozen=True, slots=True)
class Score:
    """How well one kind of model predicts real rows that it has not seen.

    Attributes:
        model: `BOOSTING` or `LINEAR` (a logistic regression for categories, ridge for numbers).
        trained_on: `SYNTHETIC` or `REAL`.
        auc: Area under the ROC curve, for more than two categories the mean of each against the rest. Of a category;
            None where the tested rows have one class alone.
        accuracy: Share of rows whose category is predicted rightly.
        r_squared: Of a number: 1 is perfect, 0 what the mean would give; below 0 worse than that.
        note: What a reader should know; mostly nothing.
    """

    model: str
    trained_on: str
    auc: float | None = None
    accuracy: float | None = None
    r_squared: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Utility:
    """Scores for one target column.

    Attributes:
        target: The column's name.
        scores: Both kinds of models, each trained on synthetic and on real rows.
    """

    target: str
    scores: tuple[Score, ...]


def utility(synthetic: Table, train: Table, test: Table, target: str) -> Utility:
    """Trains on synthetic rows and on real ones, and tests on other real ones.

    Args:
        synthetic: To learn from.
        train: Real rows to learn from, for comparison.
        test: Real rows, none of which is in `train` or was seen by what made the synthetic ones.
        target: A column; its missing values are left out.

    Raises:
        InvalidValueError: If the schemas differ, there is no such column or no other, or too little is known of it.
    """
    check_same_schema(synthetic, train, test)
    place = train.schema.index(target)
    if len(train.schema.columns) < 2:
        raise InvalidValueError("target", "is the only column, so there is nothing to predict it by")
    column = train.schema.columns[place]
    scores = []
    for name, rows in ((SYNTHETIC, synthetic), (REAL, train)):
        if isinstance(column, Category):
            scores += [_classified(rows, test, place, model, name) for model in (BOOSTING, LINEAR)]
        else:
            scores += [_regressed(rows, test, place, column, model, name) for model in (BOOSTING, LINEAR)]
    return Utility(target, tuple(scores))


def _classified(rows: Table, test: Table, place: int, model: str, name: str) -> Score:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    classes, truth = rows.codes[:, place], test.codes[:, place]
    learned, tested = _features(rows, test, place, model)
    likely = np.zeros((test.rows, test.schema.sizes[place]))
    note = ""
    if (classes == classes[0]).all():
        likely[:, classes[0]] = 1.0
        note = _NOTHING_TO_LEARN
    else:
        fitted = (
            HistGradientBoostingClassifier(random_state=0) if model == BOOSTING else LogisticRegression(max_iter=300)
        ).fit(learned, classes)
        # A class that was not learned is never predicted.
        likely[:, fitted.classes_] = fitted.predict_proba(tested)
    accuracy = float(np.mean(likely.argmax(axis=1) == truth))
    return Score(model, name, auc=area(likely, truth), accuracy=accuracy, note=note)


def area(likely: Values, truth: npt.NDArray[np.int32]) -> float | None:
    """The mean area under the ROC curves of each class that is there against the rest; None for one class alone.

    Args:
        likely: The probability of each class, shape (rows, classes).
        truth: The class of each row, shape (rows,).
    """
    from sklearn.metrics import roc_auc_score

    there = np.unique(truth)
    if there.size < 2:
        return None
    return float(np.mean([roc_auc_score(truth == one, likely[:, one]) for one in there]))


def _regressed(rows: Table, test: Table, place: int, column: Number, model: str, name: str) -> Score:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    middles = midpoints(column)
    here, there = (table.codes[:, place] < column.bins for table in (rows, test))
    if not here.any() or there.sum() < 2:
        raise InvalidValueError("target", f"{column.name} is missing in nearly all rows")
    learned, tested = _features(rows, test, place, model)
    fitted = HistGradientBoostingRegressor(random_state=0) if model == BOOSTING else Ridge()
    fitted.fit(learned[here], middles[rows.codes[here, place]])
    truth = middles[test.codes[there, place]]
    return Score(model, name, r_squared=float(r2_score(truth, fitted.predict(tested[there]))))


def _features(rows: Table, test: Table, place: int, model: str) -> Sequence[Any]:
    """What is learned from and tested on: codes for trees, which need only their order; one column each otherwise."""
    found = [np.delete(table.codes, place, axis=1) for table in (rows, test)]
    if model == BOOSTING:
        return found
    from sklearn.preprocessing import OneHotEncoder

    sizes = [size for at, size in enumerate(rows.schema.sizes) if at != place]
    encoder = OneHotEncoder(categories=[range(size) for size in sizes]).fit(found[0])
    return [encoder.transform(codes) for codes in found]
