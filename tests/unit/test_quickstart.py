"""The quick start: its statistics and their sensitivities, how it prints, and all of it against a real service."""

import io
import json
import math
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from proofs.checker import verify_document
from serve_app.quickstart.patients import (
    RADIUS_EDGES,
    bin_counts,
    clipped_sum,
    gaussian_half_width,
    l2_sensitivity,
    laplace_half_width,
    mean_half_width,
    scaled_sum,
)
from serve_app.quickstart.scenario import Estimate, with_one_digit_changed
from serve_app.quickstart.show import Show, aligned, bar
from tests.support import Live

HOSTILE = [-1e300, -0.1, 0.0, 1e-300, 0.1, 0.2, 1 / 3, 2.5, 1e300]
UPPERS = [0.1, 0.2, 1.0, 30.0]


@pytest.mark.parametrize("upper", UPPERS)
@pytest.mark.parametrize("row", HOSTILE)
def test_one_row_moves_a_clipped_sum_by_at_most_the_bound_exactly(upper: float, row: float) -> None:
    """The stated sensitivity holds in exact arithmetic, rounding included, for hostile rows and bounds."""
    random = Random(1)
    rows = [random.uniform(-upper, 3 * upper) for _ in range(500)]
    before, after = clipped_sum(rows, upper), clipped_sum([*rows, row], upper)
    assert 0 <= Fraction(after) - Fraction(before) <= Fraction(upper)


@pytest.mark.parametrize("row", HOSTILE)
def test_one_row_moves_a_scaled_sum_by_at_most_one(row: float) -> None:
    """Adding any row, however extreme, raises the scaled sum by 0 to 1 in exact arithmetic."""
    random = Random(2)
    rows = [random.uniform(0, 30) for _ in range(500)]
    before, after = scaled_sum(rows, 30.0), scaled_sum([*rows, row], 30.0)
    assert 0 <= Fraction(after) - Fraction(before) <= 1


def test_a_clipped_sum_is_the_sum_where_nothing_is_clipped() -> None:
    """Values within the bounds are added up without an error, and no values at all sum to 0."""
    assert clipped_sum([1.5, 2.25, 3.0], 30.0) == 6.75
    assert clipped_sum([], 30.0) == 0


@pytest.mark.parametrize("coordinates", [1, 2, 3, 4, 7, 100])
def test_l2_sensitivity_is_never_below_the_root(coordinates: int) -> None:
    """The stated float is rounded up, never below the true root and less than a millionth above it."""
    stated = Fraction(l2_sensitivity(coordinates))
    assert stated**2 >= coordinates
    assert (stated - Fraction(1, 10**6)) ** 2 < coordinates


def test_every_value_counts_in_one_bin_and_ends_belong_to_the_outermost() -> None:
    """Values outside the edges go to the first or last bin, so the counts add up to the rows."""
    assert bin_counts([-1, 0, 4.9, 5, 29.9, 30, 1000], RADIUS_EDGES) == [3, 1, 0, 0, 0, 3]
    assert sum(bin_counts(HOSTILE, RADIUS_EDGES)) == len(HOSTILE)


def test_half_widths_are_the_quantiles_of_the_noise() -> None:
    """At 95 % they are scale times ln 20 for Laplace and 1.96 standard deviations for Gaussian noise."""
    assert laplace_half_width(2.0, 0.95) == pytest.approx(2 * math.log(20))
    assert gaussian_half_width(3.0, 0.95) == pytest.approx(3 * 1.959963984540054)


@pytest.mark.parametrize("sum_error", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("count_error", [-18.0, 0.0, 18.0])
def test_a_mean_strays_no_further_than_its_half_width(sum_error: float, count_error: float) -> None:
    """With sum and count each off by up to its own half width, the mean is off by no more than stated."""
    true_sum, true_count = 8_000.0, 569.0
    mean = (true_sum + sum_error) / (true_count + count_error)
    width = mean_half_width(300.0, 18.0, mean, true_count + count_error)
    assert abs(mean - true_sum / true_count) <= width < 2


def test_a_mean_over_a_count_lost_in_noise_says_nothing() -> None:
    """Where the count may be 0 within its error, the half width of the mean is infinite."""
    assert mean_half_width(1.0, 5.0, 1.0, 5.0) == math.inf


@pytest.mark.parametrize(
    ("half_width", "expected"),
    [
        (14.9, ("569", "574", "15")),
        (1.14, ("569.1", "574.0", "1.1")),
        (0.0077, ("569.1230", "574.0000", "0.0077")),
        (math.inf, ("569.123", "574", "inf")),
    ],
)
def test_numbers_are_shown_to_the_places_that_mean_something(half_width: float, expected: tuple[str, ...]) -> None:
    """The half width keeps two digits, and both numbers are cut to its places, unless it is infinite."""
    assert aligned(569.123, 574.0, half_width) == expected


def test_bars_stay_within_their_width() -> None:
    """A share below 0 draws an empty bar and one above 1 a full bar, always of the same width."""
    assert [bar(share, 4) for share in (-1, 0, 0.5, 1, 7)] == ["░░░░", "░░░░", "██░░", "████", "████"]


def test_a_histogram_of_nothing_but_noise_can_be_drawn() -> None:
    """Noisy counts that are all negative are printed as they are, with empty bars and no error."""
    out = io.StringIO()
    Show(Console(file=out, width=80)).histogram([Estimate("0 to 5", 0, -3, 6), Estimate("5 to 10", 0, -1, 6)])
    assert "-3" in out.getvalue()
    assert "█" not in out.getvalue()


@pytest.mark.parametrize(
    ("text", "changed"), [('{"epsilon":"0.2"}', "0.3"), ('{"epsilon": "9"}', "1"), ('{"epsilon":"1.0"}', "1.1")]
)
def test_a_forgery_is_another_number_written_as_numbers_are_written(text: str, changed: str) -> None:
    """The changed epsilon differs, and the text stays JSON, so only the proof's checks can reveal it."""
    forged, before, after = with_one_digit_changed(text)
    assert after == changed
    assert before != after
    assert json.loads(forged) == {"epsilon": changed}


def test_what_names_no_epsilon_cannot_be_forged() -> None:
    """A document without an epsilon raises an error instead of coming back unchanged as a forgery."""
    with pytest.raises(ValueError, match="epsilon"):
        with_one_digit_changed("{}")


def test_the_whole_quick_start(live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Played against a real service it succeeds, and the five proofs it writes verify by its own keys."""
    pytest.importorskip("sklearn")
    from serve_app.quickstart.__main__ import play

    settings = live.service.settings
    out = tmp_path / "new" / "folder"
    assert play(settings.base_url, out, settings.home) == 0
    printed = capsys.readouterr()
    last = printed.out.splitlines()[-1]
    assert last == f"Quick start finished: every release was charged, proved and verified. Files are in {out}."
    assert "budget_exhausted" in printed.out
    assert printed.err == ""
    keys = json.loads((out / "keys.json").read_text())["keys"]
    proofs = sorted(out.glob("proof-*.json"))
    assert len(proofs) == 5
    assert all(verify_document(path.read_bytes(), keys).valid for path in proofs)
    last_step = printed.out.partition("Proofs\n")[2]
    for path in proofs:
        command = f"privacy-engine verify {path} --keys {out / 'keys.json'}"
        assert f"{command}\n     valid: job {path.stem.removeprefix('proof-')} cost epsilon" in last_step
    assert "it is not valid:" in last_step
    assert (out / "proof-size-pair.tex").read_text().startswith("\\documentclass")
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "loss.svg").read_text()


def test_without_a_service_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no service runs it returns 3 and names the command that starts one."""
    pytest.importorskip("sklearn")
    from serve_app.quickstart.__main__ import play

    assert play(None, tmp_path / "out", tmp_path / "no-service-here") == 3
    assert "privacy-engine up" in capsys.readouterr().err
