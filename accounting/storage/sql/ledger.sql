-- Statements of the Postgres ledger store, each under its name.

-- name: append
SELECT prv_append($1, $2);

-- name: tails
SELECT tenant, found_key, found_dataset, found_body, read_at FROM prv_tails($1, $2, $3, $4, $5);

-- name: clock
SELECT clock_timestamp();

-- name: enter_tenant
SELECT set_config('prv.tenants', ($1::text[])::text, true), clock_timestamp();

-- name: allocation
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND allocation_id = $2
  AND kind IN ('consumed', 'held')
UNION ALL
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND allocation_id = $2
  AND kind IN ('committed', 'voided', 'expired_spent')
UNION ALL
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND allocation_id = $2 AND kind = 'adjusted';

-- name: job
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND job_id = $2 ORDER BY seq LIMIT $3;

-- name: history
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3;

-- name: datasets
SELECT name, part.body
FROM (SELECT DISTINCT dataset_id AS name FROM prv_ledger WHERE tenant_id = $1 AND kind = 'dataset_set') AS registered
CROSS JOIN LATERAL prv_dataset($1, name) AS part
ORDER BY name;

-- name: deny
SELECT prv_deny($1, $2);

-- name: denials
SELECT tenant_id, seq, outcome, job_id, source_engine, actor, idempotency_key, epsilon, delta, scope,
       recorded_at AS at
FROM prv_denial WHERE tenant_id = $1 ORDER BY recorded_at DESC LIMIT $2;

-- name: store_release
INSERT INTO prv_release (tenant_id, allocation_id, ciphertext) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: release
SELECT ciphertext FROM prv_release WHERE tenant_id = $1 AND allocation_id = $2;

-- name: store_plan
INSERT INTO prv_plan (tenant_id, plan_id, body) VALUES ($1, $2, $3);

-- name: plan
SELECT body FROM prv_plan WHERE tenant_id = $1 AND plan_id = $2;

-- name: append_with_tasks
SELECT prv_append_with_tasks($1, $2, $3);

-- name: database_name
SELECT prv_database_name();
