-- Statements of the Postgres ledger store, each under its name.

-- name: append
SELECT prv_append($1, $2);

-- name: tails
SELECT tenant, found_key, found_body, read_at FROM prv_tails($1, $2, $3);

-- name: enter_tenant
SELECT set_config('prv.tenants', ($1::text[])::text, true), clock_timestamp();

-- name: allocation
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND allocation_id = $2
  AND kind IN ('consumed', 'held')
UNION ALL
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND allocation_id = $2
  AND kind IN ('committed', 'voided');

-- name: job
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND job_id = $2 ORDER BY seq LIMIT $3;

-- name: history
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3;

-- name: store_release
INSERT INTO prv_release (tenant_id, allocation_id, ciphertext) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: release
SELECT ciphertext FROM prv_release WHERE tenant_id = $1 AND allocation_id = $2;

-- name: store_plan
INSERT INTO prv_plan (tenant_id, plan_id, body) VALUES ($1, $2, $3);

-- name: plan
SELECT body FROM prv_plan WHERE tenant_id = $1 AND plan_id = $2;
