"""The ledger: append-only, isolated by tenant, chained, and its own fence.

Revision ID: 20261121000000
Revises:
"""

from accounting.storage.script import run_script

revision = "20261121000000"
down_revision = None
branch_labels = None
depends_on = None

SERVICE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prv_service') THEN
        CREATE ROLE prv_service NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
END
$$;
"""

# The tenants whose rows this transaction may see and write. Without the setting: none.
SCOPE = """
CREATE FUNCTION prv_scope() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(nullif(current_setting('prv.tenants', true), '')::text[], '{}')
$$;
"""

APPEND_ONLY = """
CREATE FUNCTION prv_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

-- What every tenant table has: no change after insertion (whoever asks), and forced isolation by tenant.
CREATE FUNCTION prv_protect(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER prv_no_change BEFORE UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION prv_refuse_change()', target);
    EXECUTE format('CREATE TRIGGER prv_no_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION prv_refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY prv_tenant ON %s
                    USING (tenant_id = ANY ((SELECT prv_scope())::text[]))
                    WITH CHECK (tenant_id = ANY ((SELECT prv_scope())::text[]))', target);
    EXECUTE format('GRANT SELECT, INSERT ON %s TO prv_service', target);
END
$$;
REVOKE EXECUTE ON FUNCTION prv_protect(regclass) FROM PUBLIC;
"""

LEDGER = """
CREATE TABLE prv_ledger (
    tenant_id       text COLLATE "C" NOT NULL CHECK (length(tenant_id) BETWEEN 1 AND 128),
    seq             bigint NOT NULL CHECK (seq > 0),
    kind            text COLLATE "C" NOT NULL
                    CHECK (kind IN ('budget_set', 'consumed', 'held', 'committed', 'voided')),
    allocation_id   uuid,
    job_id          text COLLATE "C",
    idempotency_key text COLLATE "C",
    epsilon         numeric CHECK (epsilon >= 0),
    delta           numeric CHECK (delta >= 0),
    body            text COLLATE "C" NOT NULL,
    prev_hash       bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash            bytea NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The fence: whoever writes position n has seen position n - 1, and only one can.
    CONSTRAINT prv_ledger_fence PRIMARY KEY (tenant_id, seq),
    CONSTRAINT prv_ledger_hash CHECK (hash = sha256(convert_to(body, 'UTF8')))
);
COMMENT ON COLUMN prv_ledger.body IS 'Canonical JSON (RFC 8785); what is hashed. The other columns repeat parts of it.';

-- One key, one outcome, for ever.
CREATE UNIQUE INDEX prv_ledger_key ON prv_ledger (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- One beginning and one end of an allocation.
CREATE UNIQUE INDEX prv_ledger_opening ON prv_ledger (tenant_id, allocation_id) WHERE kind IN ('consumed', 'held');
CREATE UNIQUE INDEX prv_ledger_ending ON prv_ledger (tenant_id, allocation_id) WHERE kind IN ('committed', 'voided');
CREATE INDEX prv_ledger_job ON prv_ledger (tenant_id, job_id) WHERE job_id IS NOT NULL;

-- Each row stands on the one before: no gap, no fork, not even after a restore that lost rows.
CREATE FUNCTION prv_check_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT added.tenant_id, added.seq INTO broken
    FROM added
    WHERE added.prev_hash IS DISTINCT FROM CASE
        WHEN added.seq = 1 THEN decode(repeat('00', 32), 'hex')
        -- A subquery, not a join: one look into the primary key for each row, whatever the planner knows of the table.
        ELSE (SELECT before.hash FROM prv_ledger AS before
              WHERE before.tenant_id = added.tenant_id AND before.seq = added.seq - 1)
        END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of % does not follow the entry before it', broken.seq, broken.tenant_id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'prv_ledger_chain';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER prv_chain AFTER INSERT ON prv_ledger REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION prv_check_chain();

SELECT prv_protect('prv_ledger');
"""

# One statement, so one round trip and one transaction for a whole batch, over any number of tenants.
FUNCTIONS = """
-- Every column is taken from the body here, so that no column can say something else than what was hashed.
CREATE FUNCTION prv_append(tenants text[], bodies text[]) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    INSERT INTO prv_ledger
        (tenant_id, seq, kind, allocation_id, job_id, idempotency_key, epsilon, delta, body, prev_hash, hash)
    SELECT j ->> 'tenant_id', (j ->> 'seq')::bigint, j ->> 'kind', (j ->> 'allocation_id')::uuid, j ->> 'job_id',
           j ->> 'idempotency_key', (j #>> '{charge,basic,epsilon}')::numeric, (j #>> '{charge,basic,delta}')::numeric,
           entry.body, decode(j ->> 'prev_hash', 'hex'), sha256(convert_to(entry.body, 'UTF8'))
    FROM (SELECT text AS body, text::jsonb AS j FROM unnest(bodies) AS text OFFSET 0) AS entry;
    RETURN clock_timestamp();
END
$$;

-- The last entry of each tenant (found under no key), and the entries under the given keys.
CREATE FUNCTION prv_tails(tenants text[], key_tenants text[], keys text[])
RETURNS TABLE (tenant text, found_key text, found_body text, read_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    RETURN QUERY
        SELECT wanted.t, NULL::text, last.body, clock_timestamp()
        FROM unnest(tenants) AS wanted(t)
        CROSS JOIN LATERAL
            (SELECT body FROM prv_ledger WHERE tenant_id = wanted.t ORDER BY seq DESC LIMIT 1) AS last
        UNION ALL
        SELECT entry.tenant_id, entry.idempotency_key, entry.body, clock_timestamp()
        FROM unnest(key_tenants, keys) AS wanted(t, k)
        JOIN prv_ledger AS entry ON entry.tenant_id = wanted.t AND entry.idempotency_key = wanted.k;
END
$$;
"""


def upgrade() -> None:
    for statements in (SERVICE_ROLE, SCOPE, APPEND_ONLY, LEDGER, FUNCTIONS):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
