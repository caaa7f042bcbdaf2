-- Statements of the Postgres log, each under its name.

-- One snapshot for what is visible and for what is settled: see the migration for why this order is final.
-- name: sequence
WITH last AS (
    SELECT log.position, entry.tx, entry.tenant_id, entry.seq
    FROM (SELECT * FROM prv_log ORDER BY position DESC LIMIT 1) AS log
    JOIN prv_ledger AS entry ON entry.tenant_id = log.tenant_id AND entry.seq = log.seq
), settled AS (
    SELECT row_number() OVER (ORDER BY tx, tenant_id, seq) + coalesce((SELECT position FROM last), -1) AS position,
           tenant_id, seq, hash
    FROM (
        SELECT tx, tenant_id, seq, hash FROM prv_ledger
        WHERE (tx, tenant_id, seq) > (coalesce((SELECT tx FROM last), -1), coalesce((SELECT tenant_id FROM last), ''),
                                      coalesce((SELECT seq FROM last), 0))
          AND tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + prv_tx_offset()
        ORDER BY tx, tenant_id, seq LIMIT $1
    ) AS entry
), logged AS (
    INSERT INTO prv_log (position, tenant_id, seq) SELECT position, tenant_id, seq FROM settled
), leaves AS (
    INSERT INTO prv_node (level, index, hash) SELECT 0, position, sha256('\x00'::bytea || hash) FROM settled
)
SELECT coalesce(min(position), 0) AS start, coalesce(max(position) + 1, 0) AS stop FROM settled;

-- name: size
SELECT coalesce(max(index) + 1, 0) FROM prv_node WHERE level = 0;

-- name: read
SELECT log.position, entry.body
FROM prv_log AS log JOIN prv_ledger AS entry ON entry.tenant_id = log.tenant_id AND entry.seq = log.seq
WHERE log.position >= $1 AND log.position < $2
ORDER BY log.position;

-- name: position
SELECT prv_position($1, $2);

-- name: nodes
SELECT hash FROM prv_node WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index;

-- name: store_nodes
INSERT INTO prv_node (level, index, hash)
SELECT $1, $2 + number - 1, hash FROM unnest($3::bytea[]) WITH ORDINALITY AS node(hash, number);

-- name: relayed
SELECT coalesce(max(position), 0) FROM prv_relayed WHERE relay = $1;

-- name: set_relayed
INSERT INTO prv_relayed (relay, position) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: log_id
SELECT log_id FROM prv_log_name;

-- name: store_head
INSERT INTO prv_head (size, root, signed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: heads
SELECT size, root, signed FROM prv_head WHERE size > $1 ORDER BY size LIMIT $2;

-- name: last_head
SELECT size, root, signed FROM prv_head ORDER BY size DESC LIMIT 1;
