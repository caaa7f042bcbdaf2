-- Statements about tasks and files of rows, each under its name.

-- name: enter_tenant
SELECT set_config('prv.tenants', ARRAY[$1::text]::text, true);

-- name: task
SELECT task.body, task.recorded_at, last.number, last.body AS state, last.recorded_at AS state_at
FROM prv_task AS task
LEFT JOIN LATERAL (
    SELECT number, body, recorded_at FROM prv_task_state AS state
    WHERE state.tenant_id = task.tenant_id AND state.allocation_id = task.allocation_id
    ORDER BY number DESC LIMIT 1) AS last ON true
WHERE task.tenant_id = $1 AND task.allocation_id = $2;

-- name: tasks
SELECT task.allocation_id, task.body, task.recorded_at, last.number, last.body AS state, last.recorded_at AS state_at
FROM prv_task AS task
LEFT JOIN LATERAL (
    SELECT number, body, recorded_at FROM prv_task_state AS state
    WHERE state.tenant_id = task.tenant_id AND state.allocation_id = task.allocation_id
    ORDER BY number DESC LIMIT 1) AS last ON true
WHERE task.tenant_id = $1
ORDER BY task.recorded_at DESC LIMIT $2;

-- name: states
SELECT number, body, recorded_at FROM prv_task_state
WHERE tenant_id = $1 AND allocation_id = $2 AND number > $3 ORDER BY number LIMIT $4;

-- name: advance
INSERT INTO prv_task_state (tenant_id, allocation_id, number, over, body) VALUES ($1, $2, $3, $4, $5);

-- A hold lasts at most 30 days, so what is older has ended, whatever became of it.
-- name: open
SELECT task.tenant_id, task.allocation_id
FROM prv_task AS task
WHERE task.recorded_at > clock_timestamp() - interval '60 days'
  AND NOT EXISTS (
      SELECT FROM prv_task_state AS state
      WHERE state.tenant_id = task.tenant_id AND state.allocation_id = task.allocation_id AND state.over)
-- Each tenant's oldest first, so that nobody with many crowds out the others.
ORDER BY row_number() OVER (PARTITION BY task.tenant_id ORDER BY task.recorded_at), task.recorded_at LIMIT $1;

-- name: add_file
INSERT INTO prv_file (tenant_id, dataset_id, version, body)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3 FROM prv_file WHERE tenant_id = $1 AND dataset_id = $2
RETURNING version;

-- name: file
SELECT body, version FROM prv_file WHERE tenant_id = $1 AND dataset_id = $2 ORDER BY version DESC LIMIT 1;

-- name: files
SELECT DISTINCT ON (dataset_id) dataset_id, version, body FROM prv_file WHERE tenant_id = $1
ORDER BY dataset_id, version DESC;

-- name: versions
SELECT dataset_id, version, body FROM prv_file WHERE tenant_id = $1 AND body::jsonb ? 'sha256';
