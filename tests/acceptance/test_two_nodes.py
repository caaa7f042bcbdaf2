"""The service on two nodes, one of which is cut off under load while it still reaches the ledger.

That is the hard case: Ray gives the node up and its tenants' requests go to the other owner, yet the first goes on
admitting for the clients on its own machine. Only the ledger's fence keeps the two from spending a budget twice.
"""

import json
import time
from collections.abc import Callable

import pytest

from tests.acceptance.ledger_check import check
from tests.acceptance.load import WORKERS, Load, until
from tests.acceptance.two_nodes import BothWays, two_nodes

pytestmark = pytest.mark.cluster

Record = Callable[[str, object], None]
SOME = 150
"""How many requests are acknowledged in each act."""


async def test_a_node_is_cut_off_and_comes_back(record_property: Record) -> None:
    """No budget is overspent, nothing acknowledged is lost, and the side that lives goes on for all tenants."""
    started = time.monotonic()

    def stage(name: str) -> None:
        record_property(f"seconds_until_{name}", round(time.monotonic() - started, 1))

    async with two_nodes() as cluster:
        stage("two nodes served")
        ways = cluster.transport()
        load = Load(cluster.service, ways)
        async with load.running():
            await until(lambda: bool(cluster.owners("a") and cluster.owners("b")), "an owner on each node")
            await _acknowledged_by(ways, "a", "b")
            former = cluster.owners("b")

            cluster.network.cut("b")
            # Both owners admit now, and neither can hear of the other but through the ledger.
            await _acknowledged_by(ways, "a", "b")
            stage("both sides of the cut had admitted")
            for name in ("a", "b"):
                await _every_tenant_is_answered_by(load, ways, name)
            stage("both sides had answered all tenants")

            # The node loses the ledger, too: it must refuse.
            cluster.nodes["b"].database.block()
            before = ways.admitted["b"]
            await _refused_by(ways, "b")
            # What each worker had under way had perhaps been written already.
            assert ways.admitted["b"] - before <= WORKERS, "a node without the ledger admitted something"
            ways.only = "a"
            await _acknowledged_by(ways, "a")
            stage("the side without the ledger had refused")

            # What it had sent reaches the ledger late, when others have written since.
            starts = cluster.nodes["b"].starts
            cluster.nodes["b"].database.unblock()
            cluster.network.heal("b")
            await until(lambda: cluster.nodes["b"].starts > starts, "the node that had been given up starts again")
            stage("the node started again")
            await until(lambda: bool(cluster.owners("b") - former), "an owner on the node that has come back")
            stage("the node had an owner again")
            ways.only = None
            await _acknowledged_by(ways, "a", "b")
            for name in ("a", "b"):
                await _every_tenant_is_answered_by(load, ways, name)
            stage("the node had come back and admitted")
        assert load.refused, "the small budget never ran out, so overspending would not have shown"
        record_property("answers", json.dumps(dict(load.statuses)))
        record_property("answers_by_node", json.dumps({f"{a} {b}": n for (a, b), n in ways.statuses.items()}))
        record_property("longest_silence_seconds", round(load.longest_silence, 1))
        await check(cluster.service, load)
        stage("the ledger was checked")
    stage("all was gone")


async def _acknowledged_by(ways: BothWays, *names: str) -> None:
    """Waits until each of these nodes has acknowledged so many requests from now on."""
    goals = {name: ways.admitted[name] + SOME for name in names}
    await until(
        lambda: all(ways.admitted[name] >= goal for name, goal in goals.items()),
        f"{' and '.join(names)} acknowledge {SOME} requests each",
    )


async def _refused_by(ways: BothWays, name: str) -> None:
    """Waits until a request was refused for want of the ledger, by the owner or by who waited for it in vain."""

    def refused() -> int:
        return ways.statuses[name, 503] + ways.statuses[name, 500]

    before = refused()
    await until(lambda: refused() > before, f"{name} refuses for want of the ledger")


async def _every_tenant_is_answered_by(load: Load, ways: BothWays, name: str) -> None:
    ways.answered.clear()
    everybody = {(name, tenant) for tenant in (*load.tenants, load.small)}
    await until(lambda: everybody <= ways.answered, f"{name} answers every tenant")
