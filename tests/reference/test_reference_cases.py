"""Our code answers the published numbers of others, each within its tolerance; what it cannot answer fails."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from accounting.ledger.memory import MemoryLedgerStore
from tests.reference.answers import WrongSideError, answer
from tests.reference.cases import FILE, Case, UnknownCaseError, case_from, load
from tests.reference.mechanisms import wire_event
from tests.unit.test_budget_app import serving

pytestmark = pytest.mark.untraced

CASES = load()
REJECTED = [case for case in CASES if case.expect.quantity == "rejected"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_code_answers_what_the_source_says(case: Case) -> None:
    """Within the stated tolerance, or on the stated side; and our own price is on the right side of the number."""
    got = answer(case)
    print(f"\n{case.id}: expected {case.expect}, got {'rejected' if got is None else f'{got:.12g}'}; {case.source}")
    assert case.expect.met_by(got), f"{case}: expected {case.expect}, got {got}"


@pytest.mark.parametrize("case", REJECTED, ids=str)
async def test_what_must_be_rejected_leaves_the_budget_as_it_was(case: Case, tmp_path: Path) -> None:
    """Over the wire what comes first is charged; what comes then is refused as invalid and nothing more is spent."""
    said = case.params
    async with serving(MemoryLedgerStore(), tmp_path, max_operation_epsilon=1000) as client:
        assert (await client.put("/t", json={"epsilon": 1000, "delta": 0.001})).status_code == 200
        first = {"job_id": "first", "delta": "0.00001", "event": wire_event(said.value("first"))}
        assert (await client.post("/allocate", json=first)).status_code == 200
        before = (await client.get("/t")).json()
        event = wire_event(said.value("then") if said.has("then") else said.value("first"))
        then = {"job_id": "then", "delta": str(said.number("delta")), "event": event}
        refused = await client.post("/allocate", json=then)
        assert refused.status_code == 422, refused.text
        assert refused.json()["code"] == "invalid_request"
        assert (await client.get("/t")).json() == before


def test_every_case_of_the_file_is_asked_once() -> None:
    """No case is dropped on reading and none hides behind another's name."""
    written = json.loads(FILE.read_text())
    assert [case.id for case in CASES] == [data["id"] for data in written]
    assert len({case.id for case in CASES}) == len(CASES) >= 35
    assert all(case.source for case in CASES)


def _case(mechanism: str = "gaussian", params: dict[str, Any] | None = None, **expect: Any) -> Case:  # noqa: ANN401
    stated = {"noise_multiplier": Decimal(1), "delta": Decimal("0.00001")}
    expected = {"quantity": "epsilon", "value": Decimal("4.377174"), "abs_tol": Decimal("0.00001")} | expect
    return case_from(
        {"id": "x", "source": "here", "mechanism": mechanism, "params": stated | (params or {}), "expect": expected}
    )


def test_a_case_that_is_wrong_fails() -> None:
    """The reader can say no: a number off by more than its tolerance, or on the wrong side, is not met."""
    right = _case()
    assert right.expect.met_by(answer(right))
    for wrong in (
        _case(value=Decimal("4.3773")),
        _case(value=Decimal("4.3770")),
        _case(value=Decimal("4.38"), direction=">="),
        _case(value=Decimal("4.37"), direction="<="),
        _case(value=None),
    ):
        assert not wrong.expect.met_by(answer(wrong)), wrong.expect


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"mechanism": "sparse_vector"}, "sparse_vector"),
        ({"params": {"clipping": Decimal(1)}}, "clipping"),
        ({"params": {"accountant": "saddle"}}, "saddle"),
        ({"params": {"accountant": "rdp", "conversion": "best"}}, "best"),
        ({"params": {"adjacency": "add"}}, "add"),
        ({"params": {"epochs": 3, "steps": 4}}, "epochs"),
        ({"quantity": "regret"}, "regret"),
        ({"direction": "~"}, "~"),
        ({"certainty": 1}, "certainty"),
    ],
)
def test_a_case_that_is_unknown_fails_and_says_what_is_unknown(said: dict[str, Any], named: str) -> None:
    """A mechanism, parameter, accountant, conversion, adjacency, quantity, direction or key that nobody knows."""
    with pytest.raises(UnknownCaseError, match=named):
        answer(_case(**said))


def test_a_rejected_case_that_has_a_price_fails() -> None:
    """An input that the source says must be rejected, and we price, is an error."""
    params = {"first": "Gaussian(1.0)x10", "then": "ZCDp(0.1)", "delta": Decimal("0.00001")}
    case = case_from(
        {"id": "x", "source": "here", "mechanism": "zcdp", "params": params, "expect": {"quantity": "rejected"}}
    )
    with pytest.raises(WrongSideError, match="not rejected"):
        answer(case)
