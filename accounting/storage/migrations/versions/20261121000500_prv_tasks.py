"""Work that a hold pays for: its document, kept with the hold in one transaction; what became of it; files of data.

Revision ID: 20261121000500
Revises: 20261121000400
"""

from accounting.storage.script import run_script

revision = "20261121000500"
down_revision = "20261121000400"
branch_labels = None
depends_on = None

# A task is what is to be done under a hold, and has the hold's id. The ledger has its digest, so that no task can be
# put under a hold that was made for another.
TASKS = """
CREATE TABLE prv_task (
    tenant_id     text COLLATE "C" NOT NULL,
    allocation_id uuid NOT NULL,
    body          text COLLATE "C" NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, allocation_id)
);
SELECT prv_protect('prv_task');
CREATE INDEX prv_task_recent ON prv_task (recorded_at);

CREATE FUNCTION prv_check_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM prv_ledger AS entry
        WHERE entry.tenant_id = NEW.tenant_id AND entry.allocation_id = NEW.allocation_id AND entry.kind = 'held'
          AND entry.body::jsonb #>> '{details,task}' = encode(sha256(convert_to(NEW.body, 'UTF8')), 'hex'))
    THEN
        RAISE EXCEPTION 'no hold of % names this task', NEW.tenant_id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'prv_task_held';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER prv_task_held BEFORE INSERT ON prv_task FOR EACH ROW EXECUTE FUNCTION prv_check_task();

-- As `prv_append`, with a task (or null) for each body; all of it in one transaction.
CREATE FUNCTION prv_append_with_tasks(tenants text[], bodies text[], tasks text[]) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    written timestamptz := prv_append(tenants, bodies);
BEGIN
    INSERT INTO prv_task (tenant_id, allocation_id, body)
    SELECT body::jsonb ->> 'tenant_id', (body::jsonb ->> 'allocation_id')::uuid, task
    FROM unnest(bodies, tasks) AS given(body, task) WHERE task IS NOT NULL;
    RETURN written;
END
$$;

-- What became of a task, step by step. Each row has the whole state after it, so the last one is all there is to read.
CREATE TABLE prv_task_state (
    tenant_id     text COLLATE "C" NOT NULL,
    allocation_id uuid NOT NULL,
    number        bigint NOT NULL CHECK (number > 0),
    over          boolean NOT NULL,
    body          text NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The fence: of two that saw the same last state, one goes on and the other looks again.
    CONSTRAINT prv_task_state_fence PRIMARY KEY (tenant_id, allocation_id, number),
    FOREIGN KEY (tenant_id, allocation_id) REFERENCES prv_task
);
SELECT prv_protect('prv_task_state');
CREATE UNIQUE INDEX prv_task_over ON prv_task_state (tenant_id, allocation_id) WHERE over;
"""

# Whoever brings tasks along looks for them in all tenants; it writes as the service does, one tenant at a time.
READERS = """
GRANT SELECT ON prv_task, prv_task_state TO prv_recorder;
CREATE POLICY prv_recorder ON prv_task FOR SELECT TO prv_recorder USING (true);
CREATE POLICY prv_recorder ON prv_task_state FOR SELECT TO prv_recorder USING (true);
"""

# Files of rows that tasks read: what they are, not what is in them. A new file of a data set is a new row.
FILES = """
CREATE TABLE prv_file (
    tenant_id   text COLLATE "C" NOT NULL,
    dataset_id  text COLLATE "C" NOT NULL,
    version     bigint NOT NULL CHECK (version > 0),
    body        text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT prv_file_fence PRIMARY KEY (tenant_id, dataset_id, version)
);
SELECT prv_protect('prv_file');
"""


def upgrade() -> None:
    for statements in (TASKS, READERS, FILES):
        run_script(statements)


def downgrade() -> None:
    raise RuntimeError("A ledger is never taken down. Restore a backup into another database instead.")
