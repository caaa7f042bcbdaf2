"""The client's calls against the service: each reaches its route with what it says."""

from pathlib import Path

import pytest

from serve_app.client import calls
from serve_app.client.client import PrivacyClient
from serve_app.config import Settings
from tests.support import Live, new_name

COHORT = {"epsilon": "3", "privacy_unit": "patient", "adjacency": "add_remove"}
TEN = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 10, "sensitivity": 1}, "count": 10}


def test_scopes_windows_and_ends_through_the_client(live: Live) -> None:
    """What an engine does in a day: budgets with windows, data sets, holds ended in every way, refusals looked at."""
    tenant = new_name("tenant")
    with PrivacyClient(live.service.settings.base_url, live.token(tenant, ["admin"])) as client:
        assert client.send(calls.set_budget(tenant, "4", "0", renewal_days=7))["renewal_days"] == 7
        assert client.send(calls.set_budget(tenant, "4", "0", auto_renew=False))["renewal_days"] is None
        assert client.send(calls.set_dataset(tenant, "co hort/1", COHORT))["dataset_id"] == "co hort/1"
        assert client.send(calls.dataset(tenant, "co hort/1"))["total_epsilon"] == 3
        assert [one["dataset_id"] for one in client.send(calls.datasets(tenant))["datasets"]] == ["co hort/1"]
        hold = {"job_id": "j", "event": TEN, "mode": "reserve", "dataset_id": "co hort/1"}
        parted, voided, open_still = (client.send(calls.allocate(hold))["allocation_id"] for _ in range(3))
        assert client.send(calls.commit(parted, steps=4, tenant_id=tenant))["given_back"]["basic"]["epsilon"] == "0.6"
        assert client.send(calls.void(voided))["state"] == "voided"
        with pytest.raises(calls.RefusedError) as early:
            client.send(calls.expire(open_still))
        assert (early.value.status, early.value.code) == (409, "conflict")
        with pytest.raises(calls.BudgetExhaustedError) as exhausted:
            client.send(calls.allocate({"job_id": "j", "epsilon": "2", "dataset_id": "co hort/1"}))
        assert exhausted.value.document["scope"] == "data set co hort/1"
        (denial,) = client.send(calls.denials(tenant, limit=5))["denials"]
        assert denial["scope"] == "data set co hort/1"
        assert client.send(calls.set_legal_hold(tenant, True, "a lawsuit"))["legal_hold"] is True
        assert client.send(calls.budget(tenant))["exact"]["lifetime_epsilon"] == "1.4"


def test_the_operators_keys_are_in_the_data_folder_unless_said_otherwise(tmp_path: Path) -> None:
    """Absolute either way, so that every process means the same file."""
    chosen = Settings.model_validate({"home": tmp_path})
    assert chosen.operator_keys_file == tmp_path / "keys" / "operators.json"
    elsewhere = Settings.model_validate({"home": tmp_path, "operator_keys": "relative.json"})
    assert elsewhere.operator_keys_file == Path("relative.json").absolute()
