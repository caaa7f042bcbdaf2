"""Indexes for those who read the log: one tenant's part of it, and the windows that have ended.

Revision ID: 20261121000400
Revises: 20261121000300
"""

from accounting.storage.script import run_script

revision = "20261121000400"
down_revision = "20261121000300"
branch_labels = None
depends_on = None

INDEXES = """
CREATE INDEX prv_log_tenant ON prv_log (tenant_id, position);
CREATE INDEX prv_ledger_window ON prv_ledger (tenant_id, seq) WHERE kind IN ('budget_set', 'renewed');
"""


def upgrade() -> None:
    run_script(INDEXES)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
