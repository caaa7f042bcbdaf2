"""Who did what, and what was refused: the audit log, for what the ledger does not say itself.

Revision ID: 20261121000600
Revises: 20261121000500
"""

from accounting.storage.script import run_script

revision = "20261121000600"
down_revision = "20261121000500"
branch_labels = None
depends_on = None

# What nobody verified belongs to no tenant: its rows are under '*', which names none and is in no tenant's scope.
AUDIT = """
CREATE TABLE prv_audit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   text COLLATE "C" NOT NULL CHECK (length(tenant_id) BETWEEN 1 AND 128),
    actor       text CHECK (length(actor) <= 255),
    action      text COLLATE "C" NOT NULL CHECK (length(action) <= 64),
    target      text CHECK (length(target) <= 255),
    outcome     text COLLATE "C" NOT NULL CHECK (length(outcome) <= 64),
    status      smallint NOT NULL,
    request_id  text CHECK (length(request_id) <= 128),
    -- Equal ones within a moment are one row.
    count       bigint NOT NULL CHECK (count > 0),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX prv_audit_tenant ON prv_audit (tenant_id, id);
SELECT prv_protect('prv_audit');

CREATE FUNCTION prv_audit_add(tenants text[], records text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    INSERT INTO prv_audit (tenant_id, actor, action, target, outcome, status, request_id, count)
    SELECT j ->> 'tenant_id', j ->> 'actor', j ->> 'action', j ->> 'target', j ->> 'outcome',
           (j ->> 'status')::smallint, j ->> 'request_id', (j ->> 'count')::bigint
    FROM (SELECT text::jsonb AS j FROM unnest(records) AS text OFFSET 0) AS record;
END
$$;
"""

# An auditor of all reads every tenant's rows, and those of nobody.
READERS = """
GRANT SELECT ON prv_audit TO prv_recorder;
CREATE POLICY prv_recorder ON prv_audit FOR SELECT TO prv_recorder USING (true);
"""


def upgrade() -> None:
    for statements in (AUDIT, READERS):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("An audit log is never taken down. Restore a backup into another database instead.")
