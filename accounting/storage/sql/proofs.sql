-- What a proof takes beside a job's own entries, each statement under its name.

-- name: enter_tenant
SELECT set_config('prv.tenants', ARRAY[$1::text]::text, true);

-- For each charge on a data set the registration that was in force: the last one before it.
-- name: registrations
SELECT DISTINCT ON (registration.seq) registration.body
FROM unnest($2::text[], $3::bigint[]) AS charged(dataset_id, seq)
CROSS JOIN LATERAL (
    SELECT entry.seq, entry.body FROM prv_ledger AS entry
    WHERE entry.tenant_id = $1 AND entry.dataset_id = charged.dataset_id AND entry.kind = 'dataset_set'
      AND entry.seq < charged.seq
    ORDER BY entry.seq DESC LIMIT 1
) AS registration
ORDER BY registration.seq;

-- name: positions
SELECT seq, position FROM prv_log WHERE tenant_id = $1 AND seq = ANY ($2::bigint[]);
