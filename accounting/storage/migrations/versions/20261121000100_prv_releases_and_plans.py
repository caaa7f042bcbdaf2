"""Encrypted noisy results, so that a lost reply is fetched again without a second charge; and priced plans.

Revision ID: 20261121000100
Revises: 20261121000000
"""

from accounting.storage.script import run_script

revision = "20261121000100"
down_revision = "20261121000000"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE prv_release (
    tenant_id     text COLLATE "C" NOT NULL,
    allocation_id uuid NOT NULL,
    ciphertext    bytea NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- One allocation, one draw of noise: whoever comes second reads what the first has stored.
    PRIMARY KEY (tenant_id, allocation_id)
);
SELECT prv_protect('prv_release');

CREATE TABLE prv_plan (
    tenant_id   text COLLATE "C" NOT NULL,
    plan_id     uuid NOT NULL,
    body        text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, plan_id)
);
SELECT prv_protect('prv_plan');
"""


def upgrade() -> None:
    run_script(TABLES)


def downgrade() -> None:
    raise RuntimeError("Releases are never taken down. Restore a backup into another database instead.")
