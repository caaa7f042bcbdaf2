"""What happens in the quick start: what the clinic's engine asks, and what it does with the answers.

Nothing here prints. Epsilon and delta are text or decimals throughout; floats are only for values and their noise.
"""

import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from proofs.checker import Report, verify_document
from serve_app.client import calls
from serve_app.client.client import PrivacyClient
from serve_app.quickstart.patients import (
    AREA,
    PERIMETER,
    RADIUS,
    RADIUS_EDGES,
    SMOOTHNESS,
    TEXTURE,
    Column,
    bin_counts,
    clipped_sum,
    gaussian_half_width,
    l2_sensitivity,
    laplace_half_width,
    mean_half_width,
    scaled_sum,
)

BUDGET_EPSILON, BUDGET_DELTA = "3", "0.00001"
COUNT_EPSILON = "0.2"
MEAN_EPSILON = "0.3"
HISTOGRAM_EPSILON = "0.5"
PAIR_EPSILON, PAIR_DELTA = "0.5", "0.000001"
REPEATED_EPSILON = "0.35"

MEANS = (RADIUS, TEXTURE, SMOOTHNESS)
PAIR = (PERIMETER, AREA)

_EACH = 0.975
"""Confidence in the sum and in the count each, so that a mean made of both has 0.95 (union bound)."""
_MOST_REPEATS = 100
_DIGIT = re.compile(r'("epsilon":\s*"[0-9.]*?)([0-9])"')

Patients = Mapping[str, Sequence[float]]


class ScenarioError(Exception):
    """The service did something that it must not do."""


@dataclass(frozen=True)
class Release:
    """An answer of ``mechanism/apply``.

    Attributes:
        values: The noisy values.
        noise_scale: Scale of the Laplace noise, or standard deviation of the Gaussian.
        half_width: How far each value strays at most from the true one, with a probability of 95 %.
        remaining: The epsilon that is left.
        key: The idempotency key it was asked with.
        replayed: Whether it is the answer of an earlier request.
    """

    values: tuple[float, ...]
    noise_scale: float
    half_width: float
    remaining: Decimal
    key: str
    replayed: bool


@dataclass(frozen=True)
class Estimate:
    """A released statistic beside the true one, which only a public table allows to show."""

    name: str
    true: float
    private: float
    half_width: float


@dataclass(frozen=True)
class Refusal:
    """A refusal for want of budget: the HTTP status and the problem document."""

    status: int
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Checked:
    """A proof that was saved and checked.

    Attributes:
        path: Of the proof.
        keys: Of the public keys that it was checked with.
        report: What the checker said.
    """

    path: Path
    keys: Path
    report: Report


class Clinic:
    """The clinic's engine, over HTTP; its token says for which tenant it works.

    Attributes:
        jobs: The jobs that charged something, in order.
    """

    def __init__(self, client: PrivacyClient, patients: Patients) -> None:
        self._client = client
        self._patients = patients
        self.jobs: list[str] = []

    @property
    def size(self) -> int:
        """The true number of patients."""
        return len(self._patients[RADIUS.name])

    def count(self) -> tuple[Release, Estimate]:
        """The number of patients: one patient changes it by 1."""
        true = self.size
        release = self.release("patient-count", "laplace", COUNT_EPSILON, "1", [true], whole=True)
        return release, Estimate("patients", true, release.values[0], release.half_width)

    def means(self, count: Release) -> Iterator[tuple[Release, Estimate]]:
        """The mean of three measurements: a noisy sum, divided by the noisy count that is known already."""
        for column in MEANS:
            upper = float(column.upper)
            total = clipped_sum(self._patients[column.name], upper)
            release = self.release("three-means", "laplace", MEAN_EPSILON, str(column.upper), [total])
            half_width = laplace_half_width(release.noise_scale, _EACH)
            yield release, self._mean(column, release.values[0], half_width, count)

    def histogram(self) -> tuple[Release, list[Estimate]]:
        """How many patients have a radius in each public bin: one patient changes one count by 1."""
        counts = bin_counts(self._patients[RADIUS.name], RADIUS_EDGES)
        release = self.release("radius-histogram", "laplace", HISTOGRAM_EPSILON, "1", counts, whole=True)
        names = [f"{low} to {high}" for low, high in pairwise(RADIUS_EDGES)]
        return release, [
            Estimate(name, true, private, release.half_width)
            for name, true, private in zip(names, counts, release.values, strict=True)
        ]

    def pair(self, count: Release) -> tuple[Release, list[Estimate]]:
        """Two means at once with Gaussian noise: two sums of shares, which one patient moves by 1 each."""
        sums = [scaled_sum(self._patients[column.name], float(column.upper)) for column in PAIR]
        sensitivity = str(l2_sensitivity(len(PAIR)))
        release = self.release("size-pair", "gaussian", PAIR_EPSILON, sensitivity, sums, delta=PAIR_DELTA)
        half_width = gaussian_half_width(release.noise_scale, _EACH)
        return release, [
            self._mean(column, share * float(column.upper), half_width * float(column.upper), count)
            for column, share in zip(PAIR, release.values, strict=True)
        ]

    def count_again(self, count: Release) -> Release:
        """The very same request as for `count`, with the key it had: a retry."""
        again = self.release("patient-count", "laplace", COUNT_EPSILON, "1", [self.size], whole=True, key=count.key)
        if not again.replayed or again.values != count.values:
            raise ScenarioError("the retry was answered with new noise")
        return again

    def exhaust(self) -> Iterator[Decimal | Refusal]:
        """Spends the rest in equal parts: the epsilon left after each, and last the refusal of one more.

        Raises:
            ScenarioError: If there is no end to it.
        """
        job = "spend-the-rest"
        self._note(job)
        for _ in range(_MOST_REPEATS):
            body = {"job_id": job, "epsilon": REPEATED_EPSILON, "delta": "0"}
            try:
                answer = self._client.send(calls.allocate(body, str(uuid.uuid4())))
            except calls.BudgetExhaustedError as error:
                yield Refusal(error.status, error.document)
                return
            yield Decimal(answer["exact"]["remaining_epsilon"])
        raise ScenarioError("the budget never came to its end")

    def release(
        self,
        job: str,
        mechanism: str,
        epsilon: str,
        sensitivity: str,
        values: Sequence[float],
        *,
        delta: str = "0",
        whole: bool = False,
        key: str | None = None,
    ) -> Release:
        """Has values released with noise, and the budget charged for it.

        Args:
            job: The job that is charged.
            mechanism: "laplace" or "gaussian".
            epsilon: What to spend.
            sensitivity: The most that one patient changes the values: in the L1 norm, for Gaussian in the L2 norm.
            values: The true ones.
            delta: What to spend; more than 0 for Gaussian.
            whole: Whether values are whole numbers, before and after.
            key: The idempotency key; one of its own for each operation unless given.
        """
        self._note(job)
        key = key or str(uuid.uuid4())
        body = {
            "job_id": job,
            "mechanism": mechanism,
            "epsilon": epsilon,
            "delta": delta,
            "sensitivity": sensitivity,
            "data": list(values),
            "data_type": "integer" if whole else "float",
        }
        response = self._client.send_raw(calls.apply(body, key))
        answer = response.json()
        return Release(
            values=tuple(answer["privatized_data"]),
            noise_scale=answer["noise_scale"],
            half_width=answer["accuracy"]["half_width"],
            remaining=Decimal(answer["exact"]["remaining_epsilon"]),
            key=key,
            replayed=response.headers.get("idempotency-replayed") == "true",
        )

    def _mean(self, column: Column, noisy_sum: float, half_width: float, count: Release) -> Estimate:
        values = self._patients[column.name]
        noisy_count = count.values[0]
        mean = noisy_sum / noisy_count
        # Whole-number noise is at most the next whole number above the continuous noise's width.
        count_half_width = math.ceil(laplace_half_width(count.noise_scale, _EACH))
        return Estimate(
            column.name,
            math.fsum(values) / len(values),
            mean,
            mean_half_width(half_width, count_half_width, mean, noisy_count),
        )

    def _note(self, job: str) -> None:
        if job not in self.jobs:
            self.jobs.append(job)


class Auditor:
    """Somebody who may look but not spend, and takes nothing on the service's word."""

    def __init__(self, client: PrivacyClient, tenant_id: str, folder: Path) -> None:
        self._client = client
        self._tenant_id = tenant_id
        self._folder = folder

    def spent(self) -> Decimal:
        """The epsilon that the ledger's balance says was spent."""
        answer = self._client.send(calls.budget(self._tenant_id))
        return Decimal(answer["filters"]["basic"]["spent"]["epsilon"])

    def check(self, jobs: Sequence[str]) -> Iterator[Checked]:
        """Saves the proof of each job and checks the file offline, against the service's public keys.

        Raises:
            ScenarioError: If one is not valid.
        """
        keys = self._save("keys.json", calls.Call("GET", "/.well-known/jwks.json"))
        trusted = json.loads(keys.read_bytes())["keys"]
        for job in jobs:
            path = self._save(f"proof-{job}.json", calls.proof(job))
            report = verify_document(path.read_bytes(), trusted)
            if not report.valid:
                raise ScenarioError(f"the proof of {job} is not valid: {'; '.join(report.reasons)}")
            yield Checked(path, keys, report)

    def reconcile(self, proofs: Sequence[Checked]) -> Decimal:
        """The epsilon that the proofs account for.

        Raises:
            ScenarioError: If it is not what the ledger says was spent.
        """
        proved = sum((Decimal(one.report.epsilon or 0) for one in proofs), Decimal(0))
        spent = self.spent()
        if proved != spent:
            raise ScenarioError(f"the proofs account for epsilon {proved}, the ledger says {spent}")
        return proved

    def check_forged(self, proof: Checked) -> tuple[str, str, Report]:
        """The proof's charge, the charge after one digit is changed, and what the checker says to that.

        Raises:
            ScenarioError: If it passes.
        """
        text = proof.path.read_text(encoding="utf-8")
        forged, before, after = with_one_digit_changed(text)
        report = verify_document(forged)
        if report.valid:
            raise ScenarioError("a forged proof passed the check")
        return before, after, report

    def save_for_reading(self, job: str) -> list[Path]:
        """Saves the derivation of one job as LaTeX, and the picture of the tenant's loss as PNG and SVG."""
        return [
            self._save(f"proof-{job}.tex", calls.proof(job, "latex")),
            self._save("loss.png", calls.picture("png")),
            self._save("loss.svg", calls.picture("svg")),
        ]

    def _save(self, name: str, call: calls.Call) -> Path:
        path = self._folder / name
        path.write_bytes(self._client.send_raw(call).content)
        return path


def open_budget(client: PrivacyClient, tenant_id: str) -> None:
    """Gives the tenant its budget; needs an administrator's token."""
    client.send(calls.set_budget(tenant_id, BUDGET_EPSILON, BUDGET_DELTA))


def with_one_digit_changed(proof: str) -> tuple[str, str, str]:
    """A proof in which one digit of the first epsilon is another, and that epsilon before and after.

    Raises:
        ValueError: If there is no epsilon in it.
    """
    match = _DIGIT.search(proof)
    if match is None:
        raise ValueError("the proof names no epsilon")
    digit = str(int(match[2]) % 9 + 1)
    number = match[1].rpartition('"')[2]
    forged = f"{proof[: match.start(2)]}{digit}{proof[match.end(2) :]}"
    return forged, number + match[2], number + digit
