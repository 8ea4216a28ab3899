-- Codes: importing, making, COPY; their form; keys and their rotation are in test/faults/certificates_pools.py.
BEGIN;
SELECT plan(42);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Flowers') AS org \gset
SELECT access.create_organization('Rival') AS rival \gset
SELECT access.act_as(:'org');
SELECT certificates.create_pool('gift', 'EUR', 5000);
SELECT certificates.create_pool('strict', 'EUR', 5000, code_format => 'checked');
CREATE FUNCTION pg_temp.refused(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE sql;
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || detail;
END $$;

SELECT is(certificates.import_codes('gift', ARRAY['AB12-CD34', 'AB12-CD35'], ARRAY['123', '12345678']), 2::bigint, 'two codes');
SELECT is(certificates.import_codes('gift', ARRAY['AB12-CD36']), 1::bigint, 'one without a CVC');
SELECT is(certificates.import_codes('gift', ARRAY['AB12-CD37'], ARRAY[NULL]), 1::bigint, 'or with NULL for one');
SELECT is(certificates.import_codes('gift', ARRAY[]::text[]), 0::bigint, 'none');
SELECT is((SELECT created FROM certificates.pool_status WHERE pool = 'gift'), 4::bigint, 'four were created');

-- refused as a whole
SELECT is(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['NEW-1', 'ab12cd34', '', 'x', 'new 1', NULL, 'a/b/c/d', repeat('A', 65), 'ünü1']) $$),
    'PT422 invalid_codes: row 2: code exists, row 3: malformed code, row 4: malformed code, row 5: code repeated, row 6: malformed code, row 7: malformed code, row 8: malformed code, row 9: malformed code',
    'each bad row is named');
SELECT is((SELECT created FROM certificates.pool_status WHERE pool = 'gift'), 4::bigint, 'and nothing is imported');
SELECT throws_ok($$ SELECT certificates.import_codes('gift', ARRAY['ab12cd34', 'ab12cd34', 'ab12cd34']) $$, 'PT422', '3 of 3 codes are not acceptable, none was imported', 'each is counted once');
SELECT is(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['ab12cd34', 'ab12cd34']) $$),
    'PT422 invalid_codes: row 1: code exists, row 2: code repeated', 'and named once');
SELECT is(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['NEW-1', 'NEW-2', 'NEW-3', 'NEW-4'], ARRAY['12', '123456789', '12a', '1234']) $$),
    'PT422 invalid_codes: row 1: malformed CVC, row 2: malformed CVC, row 3: malformed CVC', 'CVCs have 3 to 8 digits');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY(SELECT '' FROM generate_series(1, 25))) $$),
    '^PT422 invalid_codes: row 1: .*row 20: malformed code, \.\.\.$', 'of many the first twenty');
SAVEPOINT s;
SELECT certificates.import_codes('gift', ARRAY(SELECT 'MANY' || i FROM generate_series(1, 60) i));
SELECT is(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['NEW-1', 'NEW-1'] || ARRAY(SELECT 'MANY' || i FROM generate_series(1, 60) i)) $$),
    'PT422 invalid_codes: row 2: code repeated, ' || (SELECT string_agg(format('row %s: code exists', i), ', ' ORDER BY i) FROM generate_series(3, 21) i) || ', ...', 'in their order, whatever is wrong');
ROLLBACK TO s;
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['NEW-1'], ARRAY['123', '456']) $$), '^22023 invalid_argument: 1 codes, 2 CVCs', 'as many CVCs as codes');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY[ARRAY['NEW-1'], ARRAY['NEW-2']]) $$), '^22023', 'one dimension');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('gift', NULL) $$), '^22023', 'NULL is no array');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('nowhere', ARRAY['NEW-1']) $$), '^PT404', 'nor is this a pool');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['OIL0-0000', '011000-00']) $$), 'row 2: code repeated', 'O is 0, I and L are 1');
SELECT doesnt_match(pg_temp.refused($$ SELECT certificates.import_codes('gift', ARRAY['SECRETSECRET', 'SECRETSECRET']) $$), 'SECRET', 'no error names a code');

-- check symbols
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('strict', ARRAY['ABCDEFGH']) $$), 'row 1: wrong check symbol', 'a checked pool wants the check symbol');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('strict', ARRAY['AUCDEFGU', 'UUUUUUUU']) $$), 'row 1: wrong check symbol, row 2: wrong check symbol', 'a letter that is no symbol is none');
SELECT is(certificates.generate_codes('strict', 20), 20::bigint, 'codes made here');
RESET ROLE;
CREATE TEMPORARY TABLE made AS
SELECT certificates.disclose_code((certificates.reserve_next('strict', 'pos')).id) AS code FROM generate_series(1, 20);
SELECT is((SELECT count(*) FROM made WHERE code ~ '^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){3}$'), 20::bigint, 'are 20 symbols in groups');
SELECT is((SELECT count(DISTINCT code) FROM made), 20::bigint, 'all different');
SELECT certificates.create_pool('again', 'EUR', 1, code_format => 'checked');
SELECT matches(pg_temp.refused($$ SELECT certificates.import_codes('again', ARRAY(SELECT code FROM made)) $$), 'row 1: code exists', 'well checked, though taken');
-- Every single wrong symbol and every exchange of neighbours is found.
CREATE TEMPORARY TABLE wrong AS
SELECT DISTINCT w FROM (SELECT replace(code, '-', '') AS c FROM made LIMIT 4) m, generate_series(1, 20) i,
    LATERAL (SELECT overlay(c PLACING s FROM i FOR 1) AS w FROM regexp_split_to_table('0123456789ABCDEFGHJKMNPQRSTVWXYZ', '') s WHERE s <> substr(c, i, 1)
             UNION ALL SELECT overlay(c PLACING substr(c, i + 1, 1) || substr(c, i, 1) FROM i FOR 2) WHERE i < 20 AND substr(c, i, 1) <> substr(c, i + 1, 1)) x;
SELECT is(count(*) FILTER (WHERE pg_temp.refused(format('SELECT certificates.import_codes(%L, ARRAY[%L])', 'again', w)) LIKE '%wrong check symbol%'), count(*), 'typing errors are found, all of them')
FROM wrong;
SELECT cmp_ok((SELECT count(*) FROM wrong), '>', 2400::bigint, 'of very many');

-- what is stored
SELECT is((SELECT count(*) FROM certificates.certificates WHERE code_index IS NULL OR code_secret IS NULL OR cvc_hash IS NULL OR cvc_secret IS NULL), 0::bigint, 'everything has its hashes and ciphertexts');
SELECT is((SELECT count(*) FROM certificates.certificates WHERE position('AB12'::bytea IN code_secret) > 0 OR position('AB12'::bytea IN code_index) > 0), 0::bigint, 'nothing is in clear');
SELECT is((SELECT count(DISTINCT cvc_hash) FROM certificates.certificates), (SELECT count(*) FROM certificates.certificates), 'equal CVCs of different certificates hash differently');
SELECT is((SELECT array_agg(code_last4 ORDER BY code_last4) FROM certificates.certificates WHERE length(code_last4) = 4 AND pool_id = (SELECT id FROM certificates.pools WHERE code = 'gift')), NULL, 'nothing of short codes is kept to show');
SELECT is((SELECT count(*) FROM certificates.certificates c JOIN made ON right(made.code, 4) = c.code_last4), 20::bigint, 'of long ones the last four symbols');

-- COPY, as the view takes it
SELECT lives_ok($$ INSERT INTO certificates.import VALUES ('gift', 'COPY-1', '123'), ('again', repeat('0', 12), NULL), ('gift', 'COPY-2', NULL) $$, 'rows for two pools');
SELECT results_eq($$ SELECT pool, available FROM certificates.pool_status WHERE pool IN ('gift', 'again') ORDER BY pool $$, $$ VALUES ('again', 1::bigint), ('gift', 6::bigint) $$, 'both got theirs');
SELECT is(pg_temp.refused($$ INSERT INTO certificates.import VALUES ('gift', 'COPY-3', '123'), ('gift', 'COPY-1', NULL), ('gift', 'x', NULL) $$),
    'PT422 invalid_codes: row 2: code exists, row 3: malformed code', 'bad rows are named here, too');
SELECT matches(pg_temp.refused($$ INSERT INTO certificates.import VALUES ('nowhere', 'COPY-3', '123') $$), '^PT404', 'and bad pools');
SELECT matches(pg_temp.refused($$ INSERT INTO certificates.import VALUES (NULL, 'COPY-3', '123') $$), '^PT404', 'and no pool');
SELECT is(pg_temp.refused($$ INSERT INTO certificates.import SELECT 'nowhere' || i, 'COPY-3', '123' FROM generate_series(1, 101) i $$),
    'PT413 too_many_pools: at most 100 are filled by one statement', 'and too many pools');
SELECT lives_ok($$ INSERT INTO certificates.import SELECT 'gift', 'COPY-3', '123' $$, 'refused rows are forgotten');
SELECT is((SELECT count(*) FROM certificates.import), 0::bigint, 'nothing stays in the view');
SET LOCAL backoffice.max_import_codes = 3;
SELECT matches(pg_temp.refused($$ INSERT INTO certificates.import SELECT 'gift', 'MANY' || i FROM generate_series(1, 4) i $$), '^PT413', 'too many at once');
SELECT matches(pg_temp.refused($$ SELECT certificates.generate_codes('gift', 4) $$), '^PT413', 'too many to make');
SELECT matches(pg_temp.refused($$ SELECT certificates.generate_codes('gift', 0) $$), '^22023', 'none to make');
SELECT * FROM finish();
ROLLBACK;
