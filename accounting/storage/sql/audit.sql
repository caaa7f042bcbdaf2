-- Statements about the audit log, each under its name.

-- name: enter_tenant
SELECT set_config('prv.tenants', ARRAY[$1::text]::text, true);

-- name: add
SELECT prv_audit_add($1, $2);

-- name: latest
SELECT id, recorded_at AS at, tenant_id, actor, action, target, outcome, status, request_id, count
FROM prv_audit WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;

-- name: latest_of_all
SELECT id, recorded_at AS at, tenant_id, actor, action, target, outcome, status, request_id, count
FROM prv_audit WHERE id < $1 ORDER BY id DESC LIMIT $2;
