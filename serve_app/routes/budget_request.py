"""From bodies to the budgets, windows and data sets that an administrator wishes for. What is wrong is refused here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from accounting.conversion import PricingDisagreementError
from accounting.datasets import Dataset
from accounting.events import Adjacency
from accounting.filters import Budget, FilterKind, Share, standard_budget
from accounting.filters import budget as budget_of
from accounting.policy import SetBudget, SetDataset, SetLegalHold
from accounting.values import (
    MAX_PLACES,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    checked_epsilon,
    round_down,
)
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import invalid
from serve_app.schemas import (
    BudgetBody,
    ConflictingSpellingsError,
    DatasetBody,
    FilterBody,
    LegalHoldBody,
    PromiseBody,
    one_of,
)

MAX_RENEWAL_DAYS = 3_660
MAX_BASIS = 2_000
"""Characters of the words that say how partitions come about."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A budget, and which parts of it were stated."""

    budget: Budget
    delta_stated: bool
    filters_stated: bool


def set_budget(tenant_id: str, body: BudgetBody, actor: str, default_days: int) -> SetBudget:
    """The request for a tenant's budget.

    Args:
        tenant_id: Whose.
        body: The decoded body.
        actor: The token's subject.
        default_days: Length of a window where the body wishes for windows but says no length.

    Raises:
        Problem: For whatever is wrong, with the field.
    """
    with _told():
        wish, days = _wish(body), _renewal_days(body, default_days)
    return SetBudget(
        tenant_id,
        wish.budget,
        actor,
        delta_stated=wish.delta_stated,
        filters_stated=wish.filters_stated,
        renewal_days=days,
        renewal_stated=body.renewal_days is not None or body.auto_renew is not None,
    )


def set_dataset(tenant_id: str, dataset_id: str, body: DatasetBody, actor: str) -> SetDataset:
    """The request for a data set. Errors as for `set_budget`."""
    with _told():
        if len(body.partition_basis) > MAX_BASIS or "\x00" in body.partition_basis:
            raise InvalidValueError("partition_basis", f"must be at most {MAX_BASIS} characters, without NUL")
        dataset = Dataset(
            dataset_id,
            body.privacy_unit,
            Adjacency(body.adjacency),
            tuple(body.partitions),
            body.partition_basis,
        )
        wish = _wish(body)
    return SetDataset(
        tenant_id,
        dataset,
        wish.budget,
        actor,
        delta_stated=wish.delta_stated,
        filters_stated=wish.filters_stated,
    )


def set_legal_hold(tenant_id: str, body: LegalHoldBody, actor: str) -> SetLegalHold:
    """The request for a legal hold. Errors as for `set_budget`."""
    if not valid_text(body.reason):
        raise invalid("reason", TEXT_RULE)
    return SetLegalHold(tenant_id, body.in_force, body.reason, actor)


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the core says of a wrong value into a problem with its field."""
    try:
        yield
    except ConflictingSpellingsError as error:
        raise invalid(error.names[0], str(error)) from None
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise invalid("filters", f"have a cap that two accountants do not agree on: {error}") from None


def _wish(body: PromiseBody) -> _Wish:
    epsilon = one_of(epsilon=body.epsilon, total_epsilon=body.total_epsilon)
    delta = one_of(delta=body.delta, total_delta=body.total_delta)
    if epsilon is None:
        raise InvalidValueError("epsilon", "is missing")
    if delta is None and body.filters is not None:
        raise InvalidValueError("delta", "is missing: the filters have shares of it")
    promise = PrivacyLoss(checked_epsilon(epsilon), checked_delta(delta if delta is not None else ZERO))
    budget = standard_budget(promise) if body.filters is None else _budget(promise, body.filters)
    return _Wish(budget, delta_stated=delta is not None, filters_stated=body.filters is not None)


def _renewal_days(body: BudgetBody, default_days: int) -> int | None:
    days = body.renewal_days
    if days is None:
        return default_days if body.auto_renew else None
    if body.auto_renew is False:
        raise InvalidValueError("auto_renew", "is false, but renewal_days asks for windows: give one of both")
    if not 1 <= days <= MAX_RENEWAL_DAYS:
        raise InvalidValueError("renewal_days", f"must be from 1 to {MAX_RENEWAL_DAYS}")
    return days


def _budget(promise: PrivacyLoss, filters: Sequence[FilterBody]) -> Budget:
    order = list(FilterKind)
    shares = [
        Share(
            FilterKind(wish.filter),
            _share_of(promise.delta, wish.delta_share, f"filters.{wish.filter}.delta_share"),
            _share_of(promise.delta, wish.conversion_share, f"filters.{wish.filter}.conversion_share"),
            wish.order,
        )
        for wish in filters
    ]
    total = sum(Fraction(wish.delta_share) + Fraction(wish.conversion_share) for wish in filters)
    if total > 1:
        raise InvalidValueError("filters", f"have shares that sum to {float(total):g}; all together are at most 1")
    return budget_of(promise, sorted(shares, key=lambda share: order.index(share.kind)))


def _share_of(delta: Decimal, share: Decimal, field: str) -> Decimal:
    """That part of delta, exact but for rounding down to the places that a delta may have."""
    if share.is_finite() and share == 1:
        return delta
    return round_down(Fraction(delta) * Fraction(checked_delta(share, field)), MAX_PLACES)
