"""What a process has gathered for the audit log reaches the database, also at its end."""

from accounting.ledger.audited import Deed
from accounting.ledger.postgres_audit import PostgresAudit
from serve_app.auth.trail import Trail
from tests.support import new_name


def deed(action: str = "set_budget") -> Deed:
    """Something that was refused, of a tenant of its own."""
    return Deed(new_name("tenant"), "ann", action, "PUT /budget/t", "forbidden", 403)


async def test_what_is_left_at_the_end_is_written(service_url: str) -> None:
    """A service that is stopped loses nothing of the last moment."""
    trail = Trail(service_url)
    done = deed()
    async with trail.running():
        trail.add(done, "request")
        trail.add(done, "another")
    store = await PostgresAudit.open(service_url)
    try:
        (record,) = await store.latest(done.tenant_id)
    finally:
        await store.close()
    assert (record.deed, record.request_id, record.count) == (done, "request", 2)
    assert trail.health.written == 1


async def test_a_row_that_the_database_refuses_holds_up_no_other(service_url: str) -> None:
    """It is a fault of ours: counted and logged, once."""
    trail = Trail(service_url)
    async with trail.running():
        await trail.write(deed("x" * 65), None)
    assert trail.health.lost == 1
    assert not trail._gathered
