"""Data sets, windows, expiry and adjustments in the ledger; refusals beside it; how long releases are kept.

Revision ID: 20261121000300
Revises: 20261121000200
"""

from accounting.storage.script import run_script

revision = "20261121000300"
down_revision = "20261121000200"
branch_labels = None
depends_on = None

LEDGER = """
ALTER TABLE prv_ledger DROP CONSTRAINT prv_ledger_kind_check;
ALTER TABLE prv_ledger ADD CONSTRAINT prv_ledger_kind_check CHECK (kind IN (
    'budget_set', 'consumed', 'held', 'committed', 'voided', 'expired_spent', 'adjusted', 'renewed', 'dataset_set',
    'retention_locked', 'retention_released'));
ALTER TABLE prv_ledger ADD COLUMN dataset_id text COLLATE "C", ADD COLUMN partition text COLLATE "C",
                       ADD COLUMN due_at timestamptz;

-- One end of a hold, and one adjustment of what has ended.
DROP INDEX prv_ledger_ending;
CREATE UNIQUE INDEX prv_ledger_ending ON prv_ledger (tenant_id, allocation_id)
    WHERE kind IN ('committed', 'voided', 'expired_spent');
CREATE UNIQUE INDEX prv_ledger_adjusted ON prv_ledger (tenant_id, allocation_id) WHERE kind = 'adjusted';
-- The last entry of each data set and of each of its partitions, whatever their number and age.
CREATE INDEX prv_ledger_dataset ON prv_ledger (tenant_id, dataset_id, partition, seq) WHERE dataset_id IS NOT NULL;
CREATE INDEX prv_ledger_registration ON prv_ledger (tenant_id, dataset_id, seq) WHERE kind = 'dataset_set';
-- What falls due by itself: holds, and windows.
CREATE INDEX prv_ledger_due ON prv_ledger (due_at) WHERE due_at IS NOT NULL;
"""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION prv_append(tenants text[], bodies text[]) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    INSERT INTO prv_ledger
        (tenant_id, seq, kind, allocation_id, job_id, idempotency_key, epsilon, delta, dataset_id, partition, due_at,
         body, prev_hash, hash)
    SELECT j ->> 'tenant_id', (j ->> 'seq')::bigint, j ->> 'kind', (j ->> 'allocation_id')::uuid, j ->> 'job_id',
           j ->> 'idempotency_key', (j #>> '{charge,basic,epsilon}')::numeric, (j #>> '{charge,basic,delta}')::numeric,
           j #>> '{dataset,dataset_id}', j #>> '{dataset,partition}', (j ->> 'due_at')::timestamptz,
           entry.body, decode(j ->> 'prev_hash', 'hex'), sha256(convert_to(entry.body, 'UTF8'))
    FROM (SELECT text AS body, text::jsonb AS j FROM unnest(bodies) AS text OFFSET 0) AS entry;
    RETURN clock_timestamp();
END
$$;

-- A data set: its latest registration, then the last entry of the whole and of each registered partition.
CREATE FUNCTION prv_dataset(of_tenant text, of_dataset text) RETURNS TABLE (body text) LANGUAGE sql STABLE AS $$
    WITH registration AS (
        SELECT entry.body FROM prv_ledger AS entry
        WHERE entry.tenant_id = of_tenant AND entry.dataset_id = of_dataset AND entry.kind = 'dataset_set'
        ORDER BY entry.seq DESC LIMIT 1
    ), whole AS (
        SELECT entry.body FROM prv_ledger AS entry
        WHERE entry.tenant_id = of_tenant AND entry.dataset_id = of_dataset AND entry.partition IS NULL
        ORDER BY entry.seq DESC LIMIT 1
    ), part AS (
        SELECT last.body
        FROM registration,
             jsonb_array_elements_text(coalesce(registration.body::jsonb #> '{dataset,partitions}', '[]')) AS name
        CROSS JOIN LATERAL
            (SELECT entry.body FROM prv_ledger AS entry
             WHERE entry.tenant_id = of_tenant AND entry.dataset_id = of_dataset AND entry.partition = name
             ORDER BY entry.seq DESC LIMIT 1) AS last
    )
    SELECT * FROM registration UNION ALL SELECT * FROM whole UNION ALL SELECT * FROM part
$$;

DROP FUNCTION prv_tails(text[], text[], text[]);
-- The last entry of each tenant (found under no key and no data set); the entries under the given keys; and the data
-- sets that are asked for, each as `prv_dataset` has it.
CREATE FUNCTION prv_tails(tenants text[], key_tenants text[], keys text[], dataset_tenants text[], datasets text[])
RETURNS TABLE (tenant text, found_key text, found_dataset text, found_body text, read_at timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    RETURN QUERY
        SELECT wanted.t, NULL::text, NULL::text, last.body, clock_timestamp()
        FROM unnest(tenants) AS wanted(t)
        CROSS JOIN LATERAL
            (SELECT body FROM prv_ledger WHERE tenant_id = wanted.t ORDER BY seq DESC LIMIT 1) AS last
        UNION ALL
        SELECT entry.tenant_id, entry.idempotency_key, NULL::text, entry.body, clock_timestamp()
        FROM unnest(key_tenants, keys) AS wanted(t, k)
        JOIN prv_ledger AS entry ON entry.tenant_id = wanted.t AND entry.idempotency_key = wanted.k;
    IF cardinality(datasets) > 0 THEN
        RETURN QUERY
            SELECT wanted.t, NULL::text, wanted.d, part.body, clock_timestamp()
            FROM unnest(dataset_tenants, datasets) AS wanted(t, d)
            CROSS JOIN LATERAL prv_dataset(wanted.t, wanted.d) AS part;
    END IF;
END
$$;
"""

# A refusal changes nothing, so it is not in the ledger and not in its order; auditors want to see it all the same.
DENIALS = """
CREATE TABLE prv_denial (
    tenant_id       text COLLATE "C" NOT NULL,
    seq             bigint NOT NULL,
    outcome         text NOT NULL,
    job_id          text NOT NULL,
    source_engine   text,
    actor           text NOT NULL,
    idempotency_key text NOT NULL,
    epsilon         numeric NOT NULL,
    delta           numeric NOT NULL,
    scope           text,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX prv_denial_latest ON prv_denial (tenant_id, recorded_at);
SELECT prv_protect('prv_denial');

CREATE FUNCTION prv_deny(tenants text[], denials text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', tenants::text, true);
    INSERT INTO prv_denial
        (tenant_id, seq, outcome, job_id, source_engine, actor, idempotency_key, epsilon, delta, scope)
    SELECT j ->> 'tenant_id', (j ->> 'seq')::bigint, j ->> 'outcome', j ->> 'job_id', j ->> 'source_engine',
           j ->> 'actor', j ->> 'idempotency_key', (j ->> 'epsilon')::numeric, (j ->> 'delta')::numeric, j ->> 'scope'
    FROM (SELECT text::jsonb AS j FROM unnest(denials) AS text OFFSET 0) AS denial;
END
$$;
"""

# The ledger is kept for ever. A release (a noisy result, encrypted) may be purged by the owner of the tables, one day:
# after seven years where health data is concerned, and never while a legal hold is in force.
RETENTION = """
-- What is there already is kept the longer time, whoever it was for.
ALTER TABLE prv_release ADD COLUMN source_engine text,
    ADD COLUMN retain_until timestamptz NOT NULL DEFAULT clock_timestamp() + interval '7 years';
ALTER TABLE prv_release ALTER COLUMN retain_until DROP DEFAULT;
DROP TRIGGER prv_no_change ON prv_release;
ALTER TABLE prv_release ADD CONSTRAINT prv_release_retention CHECK (
    retain_until >= recorded_at + CASE WHEN source_engine = 'healthcare' THEN interval '7 years'
                                       ELSE interval '1 year' END);

-- Whose engine it was is read from the ledger, so that nobody can shorten the time by saying something else.
CREATE FUNCTION prv_set_retention() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    charged_at timestamptz;
BEGIN
    SELECT entry.body::jsonb ->> 'source_engine', entry.recorded_at INTO NEW.source_engine, charged_at
    FROM prv_ledger AS entry
    WHERE entry.tenant_id = NEW.tenant_id AND entry.allocation_id = NEW.allocation_id
      AND entry.kind IN ('consumed', 'held');
    -- One charge, one draw of noise: where a first draw may have been purged already, there is no second one.
    IF charged_at < clock_timestamp() - interval '1 year' THEN
        RAISE EXCEPTION 'allocation % of % was charged more than a year ago: its release may have been purged',
            NEW.allocation_id, NEW.tenant_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.retain_until := NEW.recorded_at
        + CASE WHEN NEW.source_engine = 'healthcare' THEN interval '7 years' ELSE interval '1 year' END;
    RETURN NEW;
END
$$;
CREATE TRIGGER prv_retention BEFORE INSERT ON prv_release FOR EACH ROW EXECUTE FUNCTION prv_set_retention();

CREATE FUNCTION prv_refuse_early_purge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.retain_until > clock_timestamp() THEN
        RAISE EXCEPTION 'release % of % is kept until %', OLD.allocation_id, OLD.tenant_id, OLD.retain_until
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM set_config('prv.tenants', ARRAY[OLD.tenant_id]::text, true);
    IF (SELECT coalesce((entry.body::jsonb ->> 'legal_hold')::boolean, false) FROM prv_ledger AS entry
        WHERE entry.tenant_id = OLD.tenant_id ORDER BY entry.seq DESC LIMIT 1) THEN
        RAISE EXCEPTION 'a legal hold is in force for %: nothing of it may be purged', OLD.tenant_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER prv_no_update BEFORE UPDATE ON prv_release FOR EACH ROW EXECUTE FUNCTION prv_refuse_change();
CREATE TRIGGER prv_no_early_purge BEFORE DELETE ON prv_release FOR EACH ROW EXECUTE FUNCTION prv_refuse_early_purge();
"""


def upgrade() -> None:
    for statements in (LEDGER, FUNCTIONS, DENIALS, RETENTION):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
