-- Statements about where tenants live, each under its name.

-- name: home
SELECT prv_home_of($1);

-- name: settle
SELECT prv_settle_home($1, $2);
