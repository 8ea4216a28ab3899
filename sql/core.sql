-- core: version, clock, ids, errors
SELECT backoffice.version() = extversion AS same FROM pg_extension WHERE extname = 'backoffice';

-- the clock stands where a test puts it, and only a superuser may
SET backoffice.frozen_now = '2026-03-01 12:00:00+00';
SELECT backoffice.now() AT TIME ZONE 'UTC' AS now;
SET backoffice.frozen_now = 'yesterday-ish';
RESET backoffice.frozen_now;
SELECT backoffice.now() = now() AS real_clock;
SET ROLE backoffice_service;
SET backoffice.frozen_now = '2026-03-01';
RESET ROLE;

-- ids: version 7, variant 10, increasing, and all different
SELECT count(*), count(DISTINCT id), bool_and(substr(id::text, 15, 1) = '7') AS version_7, bool_and(substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')) AS variant,
       bool_and(id > previous) AS increasing
FROM (SELECT id, lag(id, 1, '00000000-0000-0000-0000-000000000000') OVER (ORDER BY n) AS previous
      FROM (SELECT n, backoffice.uuid7() AS id FROM generate_series(1, 20000) n) a) b;
-- the first 48 bits are the time in milliseconds
SELECT abs(('x' || translate(left(backoffice.uuid7()::text, 13), '-', ''))::bit(48)::bigint - extract(epoch FROM clock_timestamp()) * 1000) < 5000 AS dated;

-- errors: SQLSTATE, symbolic code, message, detail, hint
DO $$
DECLARE
    state text; symbol text; message text; detail text; hint text;
BEGIN
    PERFORM backoffice.raise('PT409', 'already_done', 'it was done before', 'done by somebody else', 'Do something else.');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, symbol = CONSTRAINT_NAME, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE NOTICE '% | % | % | % | %', state, symbol, message, detail, hint;
END $$;
SELECT backoffice.raise('nonsense', NULL, NULL);
SELECT backoffice.raise(NULL, NULL, NULL);

-- nobody acts by default
SELECT backoffice.current_organization(), backoffice.current_user_id();
