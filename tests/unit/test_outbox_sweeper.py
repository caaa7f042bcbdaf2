"""The sweeper: whatever falls due is ended, at a cost that does not depend on how much ever was."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.due import Due, DuePage, Mark
from deployments.outbox.sweeper import AT_ONCE, Sweeper, SweepError
from tests.ledgers import NOW

PAGE = 10


@dataclass
class Falling:
    """Entries that fall due, in a list, and a budget that ends them."""

    now: datetime = NOW
    entries: dict[Mark, Due] = field(default_factory=dict)
    ended: list[Due] = field(default_factory=list)
    looked_at: int = 0
    refused: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0

    def add(self, ago: float, tenant: str = "t", *, window: bool = False) -> Due:
        """Something that fell due so many seconds ago."""
        number = len(self.entries)
        due = Due(tenant, None if window else f"hold-{number}")
        self.entries[Mark(self.now - timedelta(seconds=ago), tenant, number)] = due
        return due

    async def due(self, before: Mark | None, limit: int) -> DuePage:
        """See `DueEntries.due`."""
        fallen = [mark for mark in self.entries if mark.due_at <= self.now and (before is None or mark < before)]
        page = sorted(fallen, reverse=True)[:limit]
        self.looked_at += len(page)
        still_open = [self.entries[mark] for mark in page if self.entries[mark] not in self.ended]
        return DuePage(self.now, still_open, page[-1] if len(page) == limit else None)

    async def end(self, due: Due) -> None:
        """The budget's part."""
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if due.tenant_id in self.refused:
            raise RuntimeError("not now")
        assert due not in self.ended
        self.ended.append(due)


async def rounds(falling: Falling, count: int, sweeper: Sweeper | None = None) -> Sweeper:
    """So many rounds of one sweeper."""
    sweeper = sweeper or Sweeper(falling, falling.end, PAGE)
    for _ in range(count):
        await sweeper.step()
    return sweeper


def whole_walk(falling: Falling) -> int:
    """Rounds in which all there is has been looked at, wherever the look back was before."""
    return 2 * (len(falling.entries) // PAGE + 1)


async def test_what_is_due_is_ended_once_and_what_is_not_is_left_alone() -> None:
    """A second round finds nothing to do."""
    falling = Falling()
    hold, window = falling.add(1), falling.add(1, "u", window=True)
    later = falling.add(-1)
    sweeper = await rounds(falling, 5)
    assert set(falling.ended) == {hold, window}
    assert sweeper.ended == 2
    falling.now += timedelta(seconds=2)
    await rounds(falling, 1, sweeper)
    assert falling.ended[-1] == later


async def test_a_tenants_window_is_begun_once_however_many_entries_set_it() -> None:
    """A budget that was raised within its window has two entries with one end."""
    falling = Falling()
    falling.add(2, window=True)
    falling.add(1, window=True)
    await rounds(falling, 1)
    assert len(falling.ended) == 1


@given(st.lists(st.floats(0, 1_000_000), max_size=60), st.lists(st.floats(0, 1_000_000), max_size=10))
async def test_everything_is_found_whenever_it_fell_due_or_became_durable(
    at_first: list[float], late: list[float]
) -> None:
    """What an outage left behind; and what is written late, also where the look back has been already."""
    falling = Falling()
    for ago in at_first:
        falling.add(ago)
    sweeper = await rounds(falling, 3)
    for ago in late:
        falling.add(ago)
    await rounds(falling, whole_walk(falling), sweeper)
    assert set(falling.ended) == set(falling.entries.values())


async def test_the_newest_is_found_first_after_a_long_stop() -> None:
    """However much ended before it."""
    falling = Falling()
    for number in range(500):
        falling.ended.append(falling.add(1_000_000 + number))
    newest = falling.add(3_600)
    await rounds(falling, 1)
    assert falling.ended[-1] == newest


@pytest.mark.parametrize("history", [100, 5_000])
async def test_a_round_costs_the_same_however_much_has_ended(history: int) -> None:
    """One page of what is recent, and one further back."""
    falling = Falling()
    for number in range(history):
        falling.ended.append(falling.add(100 + number))
    await rounds(falling, 7)
    assert falling.looked_at == 7 * 2 * PAGE


async def test_all_that_fell_due_in_the_last_minute_is_found_in_one_round() -> None:
    """Also if it is more than a page."""
    falling = Falling()
    for number in range(7 * PAGE):
        falling.add(number * 0.5)
    await rounds(falling, 1)
    assert len(falling.ended) == 7 * PAGE


async def test_what_fails_is_tried_again_and_does_not_hold_up_the_others() -> None:
    """A tenant whose budget does not answer has no bearing on another's."""
    falling = Falling(refused={"ill"})
    falling.add(1, "ill")
    well = falling.add(1, "well")
    sweeper = await rounds(falling, 1)
    assert falling.ended == [well]
    with pytest.raises(SweepError, match="none of 1"):
        await sweeper.step()
    falling.refused.clear()
    await rounds(falling, 1, sweeper)
    assert len(falling.ended) == 2


async def test_few_requests_are_under_way_at_once() -> None:
    """The budget serves others too."""
    falling = Falling()
    for number in range(50):
        falling.add(number)
    await rounds(falling, 1)
    assert falling.most_under_way == AT_ONCE


async def test_a_restart_loses_nothing() -> None:
    """The sweeper remembers nothing, so each of its rounds may be the first."""
    falling = Falling()
    holds: Sequence[Due] = [falling.add(30 * number) for number in range(25)]
    for _ in range(2):
        await rounds(falling, 1)
    assert set(falling.ended) >= set(holds[:PAGE])
    await rounds(falling, whole_walk(falling))
    assert set(falling.ended) == set(holds)
