"""The fence alone answers for a tenant's position: the index of analytics may only be used by who asks by time.

Revision ID: 20261121000900
Revises: 20261121000800
"""

from accounting.storage.script import run_script

revision = "20261121000900"
down_revision = "20261121000800"
branch_labels = None
depends_on = None

# Each append looks for the entry before it, by tenant and position. Where the planner's statistics were older than a
# tenant's history it took this index for that, which also begins with the tenant and has the position: every append
# then read the tenant's whole history. A condition that always holds, and that only statements about times repeat,
# takes the choice away.
INDEX = """
DROP INDEX prv_ledger_charged;
CREATE INDEX prv_ledger_charged ON prv_ledger (tenant_id, recorded_at, seq)
    INCLUDE (kind, epsilon, source_engine, dataset_id) WHERE recorded_at > '-infinity';
"""


def upgrade() -> None:
    run_script(INDEX)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
