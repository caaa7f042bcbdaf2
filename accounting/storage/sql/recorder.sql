-- What the recorder reads beside the log itself, each statement under its name.

-- name: read_of
SELECT log.position, entry.body
FROM prv_log AS log JOIN prv_ledger AS entry ON entry.tenant_id = log.tenant_id AND entry.seq = log.seq
WHERE log.tenant_id = $1 AND log.position >= $2
ORDER BY log.position LIMIT $3;

-- A hold is ended by the entry that says so, a window by the next entry that begins one or sets the budget. Without
-- anything due there is one row all the same, which tells the time.
-- name: due
SELECT clock.now, entry.due_at, entry.tenant_id, entry.seq, entry.allocation_id,
       CASE WHEN entry.allocation_id IS NULL THEN EXISTS (
           SELECT FROM prv_ledger AS later
           WHERE later.tenant_id = entry.tenant_id AND later.seq > entry.seq AND later.kind IN ('budget_set', 'renewed'))
       ELSE EXISTS (
           SELECT FROM prv_ledger AS ending
           WHERE ending.tenant_id = entry.tenant_id AND ending.allocation_id = entry.allocation_id
             AND ending.kind IN ('committed', 'voided', 'expired_spent'))
       END AS ended
FROM (SELECT clock_timestamp() AS now) AS clock
LEFT JOIN LATERAL (
    SELECT due_at, tenant_id, seq, allocation_id FROM prv_ledger
    WHERE due_at <= clock.now AND (due_at, tenant_id, seq) < ($1, $2, $3)
    ORDER BY due_at DESC, tenant_id DESC, seq DESC LIMIT $4
) AS entry ON true
ORDER BY entry.due_at DESC, entry.tenant_id DESC, entry.seq DESC;
