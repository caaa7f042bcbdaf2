-- The schema's version, which every login of ours may read.

-- name: version
SELECT version_num FROM prv_schema_version;
