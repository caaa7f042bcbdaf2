"""Several databases: each knows its own name, and the main one where every tenant lives.

Revision ID: 20261121000800
Revises: 20261121000700
"""

from accounting.storage.script import run_script

revision = "20261121000800"
down_revision = "20261121000700"
branch_labels = None
depends_on = None

# One row, written when the database is first prepared (`accounting.storage.migrate`). A database without it is the main
# one, as every database was before there could be several.
NAME = """
CREATE TABLE prv_database (
    name        text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,30}$'),
    one         boolean PRIMARY KEY DEFAULT true CHECK (one)
);
SELECT prv_keep('prv_database');
REVOKE INSERT ON prv_database FROM prv_recorder;
GRANT SELECT ON prv_database TO prv_service;

CREATE FUNCTION prv_database_name() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT name FROM public.prv_database), 'main')
$$;

-- Gives the database its name, if it has none yet; returns the name that it has.
CREATE FUNCTION prv_name_database(given text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF given = 'main' OR NOT EXISTS (SELECT FROM prv_ledger) THEN
        INSERT INTO prv_database (name) VALUES (given) ON CONFLICT DO NOTHING;
    END IF;
    RETURN prv_database_name();
END
$$;
REVOKE EXECUTE ON FUNCTION prv_name_database(text) FROM PUBLIC;
"""

# Where a tenant lives. In the main database the row comes first, from whoever decides it; everywhere, a tenant's first
# entry brings the row along or finds it. The primary key lets one of two decisions through, so a tenant that was sent
# to another database cannot begin a second history in this one: not even by a service that knows of no other.
HOMES = """
CREATE TABLE prv_home (
    tenant_id   text COLLATE "C" CONSTRAINT prv_home_fence PRIMARY KEY,
    database    text COLLATE "C" NOT NULL CHECK (database ~ '^[a-z][a-z0-9_]{0,30}$'),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT prv_protect('prv_home');

CREATE FUNCTION prv_move_in() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here text := prv_database_name();
    lives text;
BEGIN
    INSERT INTO prv_home (tenant_id, database) VALUES (NEW.tenant_id, here) ON CONFLICT DO NOTHING;
    SELECT database INTO lives FROM prv_home WHERE tenant_id = NEW.tenant_id;
    IF lives IS DISTINCT FROM here THEN
        RAISE EXCEPTION '% lives in database %, and this is %', NEW.tenant_id, lives, here
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'prv_home_fence';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER prv_move_in AFTER INSERT ON prv_ledger
    FOR EACH ROW WHEN (NEW.seq = 1) EXECUTE FUNCTION prv_move_in();

CREATE FUNCTION prv_home_of(of_tenant text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', ARRAY[of_tenant]::text, true);
    RETURN (SELECT database FROM prv_home WHERE tenant_id = of_tenant);
END
$$;

CREATE FUNCTION prv_settle_home(of_tenant text, proposed text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('prv.tenants', ARRAY[of_tenant]::text, true);
    INSERT INTO prv_home (tenant_id, database) VALUES (of_tenant, proposed) ON CONFLICT DO NOTHING;
    RETURN (SELECT database FROM prv_home WHERE tenant_id = of_tenant);
END
$$;
"""


def upgrade() -> None:
    for statements in (NAME, HOMES):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
