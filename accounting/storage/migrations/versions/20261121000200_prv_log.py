"""The log: all tenants' entries in one order, its Merkle tree, its published heads; and the role that keeps it.

Revision ID: 20261121000200
Revises: 20261121000100
"""

from accounting.storage.script import run_script

revision = "20261121000200"
down_revision = "20261121000100"
branch_labels = None
depends_on = None

RECORDER_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prv_recorder') THEN
        CREATE ROLE prv_recorder NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
END
$$;
GRANT SELECT ON prv_ledger TO prv_recorder;
CREATE POLICY prv_recorder ON prv_ledger FOR SELECT TO prv_recorder USING (true);
"""

# In which order entries became durable. Postgres numbers transactions as they first write, and knows below which number
# (pg_snapshot_xmin) none is under way: entries below it are all that there will ever be below it. In the order of their
# transactions' numbers they can be numbered for good, and nothing that comes later belongs before them.
#
# That is a tenant's own order too: entry n + 1 names the hash of entry n, so its writer has seen n committed. The
# trigger below makes sure of the rest: that the number is the writer's own, and later than that of entry n even if the
# writer's transaction began to write something else before it saw n.
#
# Another cluster counts transactions from the start, and a dump can be restored into one. There the offset moves the
# numbers behind all that the dump brought along (prv_resume_order, called after every migration).
ORDER = """
CREATE FUNCTION prv_tx_offset() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 0::bigint';
CREATE FUNCTION prv_tx() RETURNS bigint LANGUAGE sql STABLE AS
    'SELECT pg_current_xact_id()::text::bigint + public.prv_tx_offset()';
ALTER TABLE prv_ledger ADD COLUMN tx bigint NOT NULL DEFAULT prv_tx();
COMMENT ON COLUMN prv_ledger.tx IS 'Number of the transaction that wrote the entry, larger than any before a restore.';
CREATE INDEX prv_ledger_order ON prv_ledger (tx, tenant_id, seq);

CREATE OR REPLACE FUNCTION prv_check_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT added.tenant_id, added.seq INTO broken
    FROM added
    WHERE added.tx <> prv_tx() OR added.prev_hash IS DISTINCT FROM CASE
        WHEN added.seq = 1 THEN decode(repeat('00', 32), 'hex')
        -- A subquery, not a join: one look into the primary key for each row, whatever the planner knows of the table.
        ELSE (SELECT before.hash FROM prv_ledger AS before
              WHERE before.tenant_id = added.tenant_id AND before.seq = added.seq - 1 AND before.tx <= added.tx)
        END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of % does not follow the entry before it', broken.seq, broken.tenant_id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'prv_ledger_chain';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION prv_resume_order() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    latest bigint := (SELECT tx FROM prv_ledger ORDER BY tx DESC LIMIT 1);
BEGIN
    IF latest >= prv_tx() THEN
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION prv_tx_offset() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L',
            format('SELECT %s::bigint', prv_tx_offset() + latest - prv_tx() + 1));
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION prv_resume_order() FROM PUBLIC;
"""

# The recorder alone writes here. The service may read what a proof about one tenant's entry takes: where that tenant's
# entries stand, and the tree, the heads and the log's name, which are hashes and tell nothing about anybody.
LOG = """
CREATE FUNCTION prv_keep(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER prv_no_change BEFORE UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION prv_refuse_change()', target);
    EXECUTE format('CREATE TRIGGER prv_no_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION prv_refuse_change()', target);
    EXECUTE format('GRANT SELECT, INSERT ON %s TO prv_recorder', target);
END
$$;
REVOKE EXECUTE ON FUNCTION prv_keep(regclass) FROM PUBLIC;

CREATE TABLE prv_log (
    -- The fence: of two sequencers that saw the same last position, one goes on and the other looks again.
    position    bigint CONSTRAINT prv_log_fence PRIMARY KEY CHECK (position >= 0),
    tenant_id   text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, seq)
);
SELECT prv_keep('prv_log');
ALTER TABLE prv_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE prv_log FORCE ROW LEVEL SECURITY;
CREATE POLICY prv_tenant ON prv_log FOR SELECT USING (tenant_id = ANY ((SELECT prv_scope())::text[]));
CREATE POLICY prv_recorder ON prv_log TO prv_recorder USING (true) WITH CHECK (true);
GRANT SELECT ON prv_log TO prv_service;

CREATE TABLE prv_node (
    level       smallint NOT NULL CHECK (level >= 0),
    index       bigint NOT NULL CHECK (index >= 0),
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE prv_node IS
    'Merkle tree (RFC 6962): node i of level k is the root over the 256^k leaves from i * 256^k on.';
SELECT prv_keep('prv_node');
GRANT SELECT ON prv_node TO prv_service;

CREATE TABLE prv_head (
    size        bigint PRIMARY KEY CHECK (size >= 0),
    root        bytea NOT NULL CHECK (length(root) = 32),
    signed      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT prv_keep('prv_head');
GRANT SELECT ON prv_head TO prv_service;

CREATE TABLE prv_relayed (
    relay       text COLLATE "C" NOT NULL,
    position    bigint NOT NULL CHECK (position >= 0),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (relay, position)
);
SELECT prv_keep('prv_relayed');

-- One row: by its name another database is told from an older state of this one.
CREATE TABLE prv_log_name (
    log_id      uuid NOT NULL DEFAULT gen_random_uuid(),
    one         boolean PRIMARY KEY DEFAULT true CHECK (one)
);
INSERT INTO prv_log_name DEFAULT VALUES;
SELECT prv_keep('prv_log_name');
REVOKE INSERT ON prv_log_name FROM prv_recorder;
GRANT SELECT ON prv_log_name TO prv_service;

CREATE FUNCTION prv_position(of_tenant text, of_seq bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', ARRAY[of_tenant]::text, true);
    RETURN (SELECT position FROM prv_log WHERE tenant_id = of_tenant AND seq = of_seq);
END
$$;
"""


def upgrade() -> None:
    for statements in (RECORDER_ROLE, ORDER, LOG):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A log is never taken down. Restore a backup into another database instead.")
