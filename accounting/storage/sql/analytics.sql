-- What is read to look back on a ledger, each statement under its name. Sums are exact decimals.
-- `recorded_at > '-infinity'` always holds; only with it may a statement use the index prv_ledger_charged.

-- name: enter_tenant
SELECT set_config('prv.tenants', ARRAY[$1::text]::text, true), clock_timestamp();

-- name: clock
SELECT clock_timestamp();

-- name: head
SELECT body FROM prv_ledger WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1;

-- name: known_since
SELECT recorded_at FROM prv_ledger WHERE tenant_id = $1 ORDER BY seq LIMIT 1;

-- All columns are those of the index prv_ledger_charged: no row itself is read.
-- name: charged
SELECT (recorded_at AT TIME ZONE 'UTC')::date AS day, nullif(source_engine, '') AS source_engine,
       sum(CASE WHEN kind IN ('consumed', 'held') THEN epsilon ELSE -epsilon END) AS epsilon,
       count(*) FILTER (WHERE kind IN ('consumed', 'held')) AS operations
FROM prv_ledger
WHERE tenant_id = $1 AND recorded_at >= $2 AND recorded_at < $3 AND recorded_at > '-infinity'
  AND epsilon IS NOT NULL
  AND ($4::text IS NULL OR dataset_id = $4)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: closings
SELECT moment, last.body
FROM unnest($2::timestamptz[]) AS moment
CROSS JOIN LATERAL (
    SELECT body FROM prv_ledger WHERE tenant_id = $1 AND recorded_at < moment AND recorded_at > '-infinity'
    ORDER BY recorded_at DESC, seq DESC LIMIT 1
) AS last;

-- name: closings_of_dataset
SELECT moment, touched.body
FROM unnest($2::timestamptz[]) AS moment
CROSS JOIN LATERAL (
    SELECT seq FROM prv_ledger WHERE tenant_id = $1 AND recorded_at < moment AND recorded_at > '-infinity'
    ORDER BY recorded_at DESC, seq DESC LIMIT 1
) AS last
CROSS JOIN LATERAL (
    SELECT body FROM prv_ledger
    WHERE tenant_id = $1 AND dataset_id = $3 AND partition IS NULL AND seq <= last.seq
    ORDER BY seq DESC LIMIT 1
) AS touched;

-- A hold has at most one end, and nothing else has one.
-- name: open_holds
SELECT count(*) FILTER (WHERE kind = 'held')
     - count(*) FILTER (WHERE kind IN ('committed', 'voided', 'expired_spent'))
FROM prv_ledger WHERE tenant_id = $1 AND recorded_at > '-infinity';

-- name: denied
SELECT count(*) FROM prv_denial WHERE tenant_id = $1 AND recorded_at >= $2;

-- name: operations
SELECT opening.body AS opening, ending.body AS ending, adjustment.body AS adjustment
FROM (
    SELECT seq, allocation_id, body FROM prv_ledger
    WHERE tenant_id = $1 AND seq < $2 AND kind IN ('consumed', 'held')
    ORDER BY seq DESC LIMIT $3
) AS opening
LEFT JOIN prv_ledger AS ending
    ON ending.tenant_id = $1 AND ending.allocation_id = opening.allocation_id
   AND ending.kind IN ('committed', 'voided', 'expired_spent')
LEFT JOIN prv_ledger AS adjustment
    ON adjustment.tenant_id = $1 AND adjustment.allocation_id = opening.allocation_id AND adjustment.kind = 'adjusted'
ORDER BY opening.seq DESC;

-- Of all tenants, so for the recorder alone. The next name is found by one look into the primary key, however long a
-- tenant's history is.
-- name: tenants
WITH RECURSIVE named AS (
    (SELECT tenant_id FROM prv_ledger WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT entry.tenant_id FROM prv_ledger AS entry WHERE entry.tenant_id > named.tenant_id
            ORDER BY entry.tenant_id LIMIT 1)
    FROM named WHERE named.tenant_id IS NOT NULL
)
SELECT last.body, last.recorded_at AS kept_at, first.recorded_at AS known_since, before.body AS before
FROM (SELECT tenant_id FROM named WHERE tenant_id IS NOT NULL LIMIT $2) AS tenant
CROSS JOIN LATERAL (
    SELECT body, recorded_at FROM prv_ledger WHERE tenant_id = tenant.tenant_id ORDER BY seq DESC LIMIT 1
) AS last
CROSS JOIN LATERAL (
    SELECT recorded_at FROM prv_ledger WHERE tenant_id = tenant.tenant_id ORDER BY seq LIMIT 1
) AS first
LEFT JOIN LATERAL (
    SELECT body FROM prv_ledger WHERE tenant_id = tenant.tenant_id AND recorded_at < $3 AND recorded_at > '-infinity'
    ORDER BY recorded_at DESC, seq DESC LIMIT 1
) AS before ON true;

-- name: bodies
SELECT body FROM prv_ledger WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3;

-- name: refusals
SELECT outcome, count(*) AS count FROM prv_denial
WHERE tenant_id = $1 AND recorded_at >= $2 AND recorded_at < $3 GROUP BY outcome ORDER BY outcome;

-- name: releases
SELECT count(*) AS count, count(*) FILTER (WHERE source_engine = 'healthcare') AS health,
       min(retain_until) AS earliest, max(retain_until) AS latest
FROM prv_release WHERE tenant_id = $1;
