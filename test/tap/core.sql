BEGIN;
SELECT plan(2);
SELECT is(backoffice.version(), (SELECT extversion FROM pg_extension WHERE extname = 'backoffice'), 'library and script are of one version');
SELECT matches(backoffice.uuid7()::text, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]', 'uuid7 is version 7');
SELECT * FROM finish();
ROLLBACK;
