"""What sums by day and engine are read from: an index that has all they take, so that no entry itself is read.

Revision ID: 20261121000700
Revises: 20261121000600
"""

from accounting.storage.script import run_script

revision = "20261121000700"
down_revision = "20261121000600"
branch_labels = None
depends_on = None

# An index cannot answer for a value inside the body, so the engine has a column, as everything has that queries are
# about. Entries from before keep none: nothing in the ledger is ever written again. An empty text is no engine.
COLUMN = """
ALTER TABLE prv_ledger ADD COLUMN source_engine text COLLATE "C";

CREATE OR REPLACE FUNCTION prv_append(tenants text[], bodies text[]) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    INSERT INTO prv_ledger
        (tenant_id, seq, kind, allocation_id, job_id, idempotency_key, epsilon, delta, dataset_id, partition, due_at,
         source_engine, body, prev_hash, hash)
    SELECT j ->> 'tenant_id', (j ->> 'seq')::bigint, j ->> 'kind', (j ->> 'allocation_id')::uuid, j ->> 'job_id',
           j ->> 'idempotency_key', (j #>> '{charge,basic,epsilon}')::numeric, (j #>> '{charge,basic,delta}')::numeric,
           j #>> '{dataset,dataset_id}', j #>> '{dataset,partition}', (j ->> 'due_at')::timestamptz,
           coalesce(j ->> 'source_engine', ''),
           entry.body, decode(j ->> 'prev_hash', 'hex'), sha256(convert_to(entry.body, 'UTF8'))
    FROM (SELECT text AS body, text::jsonb AS j FROM unnest(bodies) AS text OFFSET 0) AS entry;
    RETURN clock_timestamp();
END
$$;
"""

INDEX = """
CREATE INDEX prv_ledger_charged ON prv_ledger (tenant_id, recorded_at, seq)
    INCLUDE (kind, epsilon, source_engine, dataset_id);
"""


def upgrade() -> None:
    for statements in (COLUMN, INDEX):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
