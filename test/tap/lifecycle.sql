BEGIN;
SELECT plan(128);
CREATE SCHEMA app;
CREATE TABLE app.deal (id uuid PRIMARY KEY DEFAULT backoffice.uuid7(), organization_id uuid, state text NOT NULL, version bigint, amount int);

CREATE FUNCTION app.rich(old app.deal, new app.deal) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN new.amount > 100; END $$;
CREATE FUNCTION app.wrong(old app.deal) RETURNS boolean LANGUAGE sql AS 'SELECT true';

-- what a definition is made of
CREATE FUNCTION pg_temp.bad(definition text, why text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT throws_ok(format('SELECT lifecycle.define(%L, %L, %L)', 'app.deal', 'state', definition), '22023', NULL, why) $$;
SELECT pg_temp.bad(NULL, 'no definition');
SELECT pg_temp.bad('null', 'JSON null');
SELECT pg_temp.bad('[1]', 'an array');
SELECT pg_temp.bad('{}', 'empty');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a"], "transitions": [], "color": 1}', 'an unknown key');
SELECT pg_temp.bad('{"initial": ["a"], "states": [1, null], "transitions": []}', 'states that are no strings');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "a"], "transitions": []}', 'a state twice');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", ""], "transitions": []}', 'an empty name');
SELECT pg_temp.bad('{"initial": ["b"], "states": ["a"], "transitions": []}', 'an unknown initial state');
SELECT pg_temp.bad('{"initial": [], "states": ["a"], "transitions": []}', 'no initial state');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a"], "transitions": [{"from": "a", "to": "x"}]}', 'a step to nowhere');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "x", "to": "b"}]}', 'a step from nowhere');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b"}, {"from": ["a"], "to": "b"}]}', 'a step twice');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "a"}]}', 'a step on the spot');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": []}', 'an unreachable state');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b", "event": "e"}]}', 'an event without topic');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b", "guard": "app.wrong"}]}', 'a guard with other arguments');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b", "guard": "'' OR 1"}]}', 'a guard that is no name');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b"}], "terminal": ["a"]}', 'a terminal state that is left');
SELECT pg_temp.bad('{"initial": "a", "transitions": {"a": [1]}}', 'a short form with a step to a number');
SELECT pg_temp.bad('{"initial": 1, "transitions": [1, "x", null, {"from": [], "to": {}}]}', 'garbage without states');
SELECT throws_ok($$SELECT lifecycle.define(0::regclass, 'state', '{}')$$, '22023', NULL, 'an OID that is no table''s');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a"], "transitions": [], "version": "state"}', 'a version that is text');
SELECT pg_temp.bad('{"initial": ["a"], "states": ["a"], "transitions": [], "key": "nope"}', 'a key column that is not there');
SELECT is_empty('SELECT FROM lifecycle.definitions WHERE NOT built_in', 'nothing was written');

CREATE FUNCTION pg_temp.define(more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
    SELECT lifecycle.define('app.deal', 'state', '{
        "initial": ["draft"], "version": "version", "organization": "organization_id",
        "states": {"draft": {"description": "being written"}, "open": {}, "won": {}, "lost": {}},
        "transitions": [{"from": "draft", "to": "open"}, {"from": ["draft", "open"], "to": "lost"},
                        {"from": "open", "to": "won", "guard": "app.rich"}],
        "terminal": ["won", "lost"]}' || more) $$;
SELECT lives_ok('SELECT pg_temp.define()', 'a definition is taken');
SELECT results_eq($$ SELECT from_state, to_state, guard FROM lifecycle.transitions WHERE entity = 'app.deal'::regclass $$,
    $$ VALUES (NULL, 'draft', NULL), ('draft', 'open', NULL), ('draft', 'lost', NULL), ('open', 'lost', NULL), ('open', 'won', 'app.rich') $$, 'and shown');
SELECT is(lifecycle.diagram('app.deal'), 'stateDiagram-v2
    [*] --> draft
    draft --> open
    draft --> lost
    open --> lost
    open --> won : [app.rich]
    won --> [*]
    lost --> [*]', 'and drawn');
SELECT is(lifecycle.diagram('pg_class'), NULL, 'a table without life cycle has no diagram');

-- what it enforces
INSERT INTO app.deal (state, version) VALUES ('draft', 17);
SELECT results_eq('SELECT version FROM app.deal', 'VALUES (1::bigint)', 'versions begin at 1, whatever the writer says');
SELECT throws_ok($$ INSERT INTO app.deal (state) VALUES ('won') $$, 'PT409', 'app.deal can''t begin as "won"');
SELECT throws_ok($$ INSERT INTO app.deal (state) VALUES (NULL) $$, '22023', 'the state of app.deal is null');
SELECT throws_ok($$ UPDATE app.deal SET state = 'nowhere' $$, '22023', 'app.deal has no state "nowhere"');
SELECT throws_ok($$ UPDATE app.deal SET state = 'won' $$, 'PT409', 'app.deal can''t go from "draft" to "won"');
UPDATE app.deal SET state = 'open', amount = 100;
UPDATE app.deal SET version = 1000;
SELECT results_eq('SELECT state, version FROM app.deal', $$ VALUES ('open', 3::bigint) $$, 'each write counts one version');
SELECT throws_ok($$ UPDATE app.deal SET state = 'won' $$, 'PT409', 'app.deal may not go from "open" to "won" now');
SELECT lives_ok($$ UPDATE app.deal SET state = 'won', amount = 101 $$, 'the guard sees the new row');
SELECT throws_ok($$ UPDATE app.deal SET state = 'open' $$, 'PT409', 'app.deal can''t go from "won" to "open"');
SELECT throws_ok($$ INSERT INTO app.deal SELECT id, NULL, 'draft' FROM app.deal ON CONFLICT (id) DO UPDATE SET state = 'lost' $$, 'PT409', NULL, 'nor by ON CONFLICT');

-- the same answers without a row
SELECT throws_ok($$ SELECT lifecycle.check_transition('app.deal', 'won', 'open') $$, 'PT409', 'app.deal can''t go from "won" to "open"');
SELECT throws_ok($$ SELECT lifecycle.check_transition('app.deal', NULL, 'x') $$, '22023', 'app.deal has no state "x"');
SELECT throws_ok($$ SELECT lifecycle.check_transition('nobody', NULL, 'x') $$, 'PT404', 'there is no life cycle "nobody"');

-- redefinition
SELECT throws_ok($$ SELECT lifecycle.define('app.deal', 'state', '{"initial": ["draft"], "states": ["draft"], "transitions": []}') $$,
    'PT409', 'rows of app.deal stand in a state that the definition does not have');
SELECT lives_ok($$ SELECT pg_temp.define('{"transitions": [{"from": "draft", "to": "open"}, {"from": "draft", "to": "lost"}, {"from": ["open", "lost"], "to": "won"}, {"from": "won", "to": "open"}], "terminal": []}') $$, 'another definition');
SELECT lives_ok($$ UPDATE app.deal SET state = 'open' $$, 'is in force at once');
-- The check without rows and the triggers agree about every pair of states.
CREATE TABLE app.walk (id int PRIMARY KEY, state text NOT NULL);
SELECT lifecycle.define('app.walk', 'state', '{"initial": ["a", "b"], "states": ["a", "b", "c", "d"],
    "transitions": [{"from": "a", "to": "b"}, {"from": ["a", "b"], "to": "c"}, {"from": "c", "to": "a"}, {"from": "c", "to": "d"}]}');
CREATE FUNCTION pg_temp.verdict(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    EXECUTE sql;
    RAISE EXCEPTION USING errcode = 'ZZ000';
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    RETURN 'legal';
WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
    RETURN sqlstate || ' ' || sqlerrm || ' ' || said;
END $$;
SELECT is(count(*), 0::bigint, 'direct writers and triggers are told the same, for each pair of states') FROM (
    SELECT pg_temp.verdict(format('SELECT lifecycle.check_transition(%L, %L, %L)', 'app.walk', f, t)) AS direct,
           pg_temp.verdict(CASE WHEN f IS NULL THEN format('INSERT INTO app.walk VALUES (1, %L)', t) ELSE format(
               'SET LOCAL row_security = off; INSERT INTO app.walk VALUES (1, %L); SET LOCAL row_security = on; UPDATE app.walk SET state = %L', f, t) END) AS triggered
    FROM unnest(ARRAY[NULL, 'a', 'b', 'c', 'd']) f, unnest(ARRAY['a', 'b', 'c', 'd', 'nowhere', NULL]) t WHERE f IS DISTINCT FROM t) x
WHERE direct IS DISTINCT FROM triggered;

-- events
SELECT lives_ok($$ SELECT events.define_topic('app.deals', 'deal id') $$, 'a topic');
SELECT throws_ok($$ SELECT lifecycle.define('app.walk', 'state', '{"initial": ["a"], "states": ["a"], "transitions": [], "topic": "app.nothing"}') $$, NULL, NULL, 'an unknown topic');
CREATE TABLE app.told (id uuid PRIMARY KEY, org uuid, state varchar(10) NOT NULL, n int);
CREATE FUNCTION app.tell(old app.told, new app.told, f text, t text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE WHEN new.n IS NULL THEN NULL ELSE jsonb_build_object('was', old.n, 'is', new.n, 'path', concat(f, '>', t)) END $$;
SELECT lifecycle.define('app.told', 'state', '{"states": ["new", "done"], "topic": "app.deals", "organization": "org", "version": "n", "name": "deals", "payload": "app.tell",
    "transitions": [{"to": "new", "event": "deal.made"}, {"from": "new", "to": "done", "event": "deal.done"}]}');
CREATE VIEW app.events AS SELECT organization_id, key, type, payload FROM events.log WHERE type LIKE 'deal.%' ORDER BY seq;
INSERT INTO app.told VALUES ('11111111-1111-7111-8111-111111111111', '22222222-2222-7222-8222-222222222222', 'new');
INSERT INTO app.told VALUES ('11111111-1111-7111-8111-111111111111', '22222222-2222-7222-8222-222222222222', 'new') ON CONFLICT DO NOTHING;
UPDATE app.told SET org = org;
UPDATE app.told SET state = 'done';
SELECT results_eq('SELECT * FROM app.events', $$ VALUES
    ('22222222-2222-7222-8222-222222222222'::uuid, '11111111-1111-7111-8111-111111111111', 'deal.made', '{"is": 1, "was": null, "path": ">new"}'::jsonb),
    ('22222222-2222-7222-8222-222222222222', '11111111-1111-7111-8111-111111111111', 'deal.done', '{"is": 3, "was": 2, "path": "new>done"}') $$,
    'one event a step; none for what ON CONFLICT drops, none for a write that keeps the state');
SAVEPOINT failing;
CREATE OR REPLACE FUNCTION app.tell(old app.told, new app.told, f text, t text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
    PERFORM lifecycle.define('app.deal', 'state', '{"initial": ["draft", "open", "won", "lost"], "states": ["draft", "open", "won", "lost"], "transitions": []}');
    RETURN NULL; END $$;
INSERT INTO app.told VALUES ('11111111-1111-7111-8111-111111111112', '22222222-2222-7222-8222-222222222222', 'new');
SELECT is((SELECT payload FROM app.events OFFSET 2), '{"entity": "deals", "id": "11111111-1111-7111-8111-111111111112", "from": null, "to": "new", "version": 1}',
    'a payload function may redefine life cycles while it runs; NULL: the default payload');
ROLLBACK TO failing;
CREATE OR REPLACE FUNCTION app.tell(old app.told, new app.told, f text, t text) RETURNS jsonb LANGUAGE sql AS 'SELECT (1 / 0)::text::jsonb';
SELECT throws_ok($$ INSERT INTO app.told VALUES ('11111111-1111-7111-8111-111111111113', '22222222-2222-7222-8222-222222222222', 'new') $$, '22012', NULL, 'a payload function that fails stops the write');
SELECT is((SELECT count(*) FROM app.told), 1::bigint, 'and nothing is written');
DROP FUNCTION app.tell(app.told, app.told, text, text);

-- enums, partitions, columns that stand elsewhere
CREATE TYPE app.mood AS ENUM ('calm', 'angry', 'other');
CREATE TABLE app.ticket (gone int, id int, day date, mood app.mood NOT NULL, seen int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
ALTER TABLE app.ticket DROP COLUMN gone;
CREATE TABLE app.ticket_1 (mood app.mood NOT NULL, seen int, day date NOT NULL, id int NOT NULL);
ALTER TABLE app.ticket ATTACH PARTITION app.ticket_1 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE app.ticket_2 PARTITION OF app.ticket FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE FUNCTION app.was_seen(old app.ticket, new app.ticket) RETURNS boolean LANGUAGE plpgsql STRICT AS $$ BEGIN RETURN old.seen + new.seen > 0; END $$;
SELECT throws_ok($$ SELECT lifecycle.define('app.ticket', 'mood', '{"initial": ["calm"], "states": ["calm", "sad"], "transitions": [{"from": "calm", "to": "sad"}]}') $$, '22023', NULL, 'a state the enum does not have');
SELECT lifecycle.define('app.ticket', 'mood', '{"initial": ["calm"], "states": ["calm", "angry"], "transitions": [{"from": "calm", "to": "angry", "guard": "app.was_seen"}], "emit": false}');
INSERT INTO app.ticket (id, day, mood, seen) VALUES (1, '2026-05-05', 'calm', 1), (2, '2027-05-05', 'calm', 0);
SELECT lives_ok($$ UPDATE app.ticket SET mood = 'angry' WHERE id = 1 $$, 'a partition with other columns');
SELECT throws_ok($$ UPDATE app.ticket SET mood = 'angry' WHERE id = 2 $$, 'PT409', NULL, 'its guard is asked in every partition');
SELECT throws_ok($$ UPDATE app.ticket SET mood = 'calm' WHERE id = 1 $$, 'PT409', 'app.ticket can''t go from "angry" to "calm"');
SELECT throws_ok($$ INSERT INTO app.ticket (id, day, mood) VALUES (3, '2026-05-06', 'other') $$, '22023', NULL, 'a label that is no state');
ALTER TABLE app.ticket RENAME COLUMN mood TO temper;
SELECT throws_ok($$ UPDATE app.ticket SET temper = 'calm' WHERE id = 1 $$, '42703', NULL, 'a renamed column is told');
DROP FUNCTION app.was_seen(app.ticket, app.ticket);
ALTER TABLE app.ticket RENAME COLUMN temper TO mood;
SELECT throws_ok($$ UPDATE app.ticket SET seen = 1 WHERE id = 1 $$, '42883', NULL, 'a dropped guard is told');

-- the version's place in the row
CREATE TABLE app.gaps (a int, version int, id int PRIMARY KEY, state text NOT NULL);
SELECT lifecycle.define('app.gaps', 'state', '{"initial": ["x"], "states": ["x", "y"], "transitions": [{"from": "x", "to": "y"}], "version": "version"}');
INSERT INTO app.gaps VALUES (7, NULL, 1, 'x'), (NULL, 5, 2, 'x'), (8, 5, 3, 'x'), (NULL, NULL, 4, 'x');
UPDATE app.gaps SET a = CASE WHEN id < 3 THEN a ELSE 9 - a END, version = CASE WHEN id = 3 THEN NULL ELSE version END;
UPDATE app.gaps SET state = 'y', a = nullif(a, 7);
SELECT results_eq('SELECT id, a, version, state FROM app.gaps ORDER BY id', $$ VALUES (1, NULL, 3, 'y'), (2, NULL, 3, 'y'), (3, 1, 3, 'y'), (4, NULL, 3, 'y') $$, 'is found with and without NULLs around');

-- names
CREATE TABLE app."odd ""name'" (id int PRIMARY KEY, "the state" text NOT NULL);
SELECT lives_ok($$ SELECT lifecycle.define('app."odd ""name''"', 'the state', '{"initial": ["it''s"], "states": ["it''s", "\"so\""], "transitions": [{"from": "it''s", "to": "\"so\""}]}') $$, 'quotes in names');
SELECT lives_ok($$ INSERT INTO app."odd ""name'" VALUES (1, 'it''s'); UPDATE app."odd ""name'" SET "the state" = '"so"'; ALTER TABLE app."odd ""name'" RENAME TO even $$, 'work');
SELECT is((SELECT count(*) FROM lifecycle.transitions WHERE entity = 'app.even'::regclass), 2::bigint, 'and follow the table''s name');
SELECT throws_ok($$ UPDATE app.even SET "the state" = 'it''s' $$, 'PT409', NULL, 'enforced under the new name');
CREATE TABLE app.other (id int PRIMARY KEY, state text NOT NULL);
SELECT throws_ok($$ SELECT lifecycle.define('app.other', 'state', '{"name": "deals", "initial": ["a"], "states": ["a"], "transitions": []}') $$, 'PT409', 'definition "deals" belongs to another table');
SELECT throws_ok($$ SELECT lifecycle.define('certificates.certificates', 'state', '{"initial": ["a"], "states": ["a"], "transitions": []}') $$, 'PT409', NULL, 'the extension''s own stay');
SELECT throws_ok($$ SELECT lifecycle.define('app.events', 'state', '{"initial": ["a"], "states": ["a"], "transitions": []}') $$, '22023', '"events" is not a table');

-- loading a dump, and who may
SET LOCAL row_security = off;
INSERT INTO app.walk VALUES (7, 'd');
SELECT throws_ok($$ INSERT INTO app.walk VALUES (8, 'x') $$, '22023', NULL, 'unknown states are not loaded either');
SET LOCAL row_security = on;
SELECT is((SELECT state FROM app.walk WHERE id = 7), 'd', 'the owner loads rows as they were');
GRANT USAGE ON SCHEMA app TO backoffice_service;
GRANT INSERT, UPDATE, SELECT ON app.walk TO backoffice_service;
SET LOCAL ROLE backoffice_service;
SET LOCAL row_security = off;
SELECT throws_ok($$ INSERT INTO app.walk VALUES (9, 'd') $$, 'PT409', NULL, 'nobody else does');
SET LOCAL row_security = on;
SELECT throws_ok($$ SELECT lifecycle.define('app.walk', 'state', '{}') $$, '42501', NULL, 'nor defines');
SELECT ok((SELECT count(*) FROM lifecycle.transitions WHERE entity = 'certificates.certificates'::regclass) > 20, 'but everybody may look');
SELECT matches(lifecycle.diagram('certificates.certificates'), 'reserved --> issued : certificate.issued', 'and draw');
RESET ROLE;
GRANT CREATE ON SCHEMA app TO backoffice_admin;
GRANT USAGE ON SCHEMA app TO backoffice_admin;
SET LOCAL ROLE backoffice_admin;
SELECT throws_ok($$ SELECT lifecycle.define('app.walk', 'state', '{}') $$, '42501', 'must be owner of table walk');
CREATE TABLE app.mine (id int PRIMARY KEY, state text NOT NULL);
SELECT lives_ok($$ SELECT lifecycle.define('app.mine', 'state', '{"initial": ["a"], "states": ["a"], "transitions": []}') $$, 'an admin defines for a table of its own');
SELECT lives_ok($$ INSERT INTO app.mine VALUES (1, 'a') $$, 'and works with it');
CREATE TABLE app.bait (organization_id uuid, id uuid, state text);
CREATE TRIGGER steal AFTER INSERT ON app.bait FOR EACH ROW EXECUTE FUNCTION lifecycle.emit_step('certificates.certificates');
SELECT throws_ok($$ INSERT INTO app.bait VALUES (NULL, NULL, 'available') $$, '39P01', NULL, 'another owner''s life cycle is not to be hung on one''s own table');
CREATE TRIGGER steal_check BEFORE INSERT ON app.bait FOR EACH ROW EXECUTE FUNCTION lifecycle.check_row('app.walk');
SELECT throws_ok($$ INSERT INTO app.bait VALUES (NULL, NULL, 'a') $$, '39P01', NULL, 'whoever it is');
SELECT throws_ok($$ SELECT lifecycle.define('app.mine', 'state', '{"topic": "access.audit", "initial": ["a"], "states": ["a", "b"], "transitions": [{"from": "a", "to": "b", "event": "e"}]}') $$,
    '42501', NULL, 'nor does a definition give a right to a topic');
SELECT is((SELECT count(*)::int FROM app.bait), 0, 'nothing came of it');
RESET ROLE;
CREATE TRIGGER misuse BEFORE UPDATE ON app.other FOR EACH ROW EXECUTE FUNCTION lifecycle.check_row();
INSERT INTO app.other VALUES (1, 'a');
SELECT throws_ok($$ UPDATE app.other SET id = 2 $$, '39P01', NULL, 'the trigger functions are not for hands');
-- short forms
CREATE TABLE app.short (id uuid PRIMARY KEY, state text);
SELECT lifecycle.define('app.short', 'state', '{"initial": "draft", "transitions": {"draft": ["sent", "lost"], "sent": "done"}, "terminal": ["done", "lost"]}');
SELECT set_eq($$SELECT from_state, to_state FROM lifecycle.transitions WHERE entity = 'app.short'::regclass$$,
              $$VALUES (NULL, 'draft'), ('draft', 'sent'), ('draft', 'lost'), ('sent', 'done')$$, 'short forms: transitions as an object');
INSERT INTO app.short VALUES ('00000000-0000-0000-0000-000000000001', 'draft');
SELECT throws_ok($$UPDATE app.short SET state = 'nowhere'$$, '22023', NULL, 'and the states are those named');

-- who emits the event of an UPDATE
CREATE TABLE app.job (id int PRIMARY KEY, state text NOT NULL, version int, note text);
CREATE FUNCTION pg_temp.define_job() RETURNS void LANGUAGE sql AS $$
    SELECT lifecycle.define('app.job', 'state', '{"initial": "off", "topic": "app.deals", "version": "version",
        "transitions": [{"from": "off", "to": "on", "event": "deal.on"}, {"from": "on", "to": "off", "event": "deal.off"}]}') $$;
CREATE FUNCTION pg_temp.job_triggers() RETURNS SETOF name LANGUAGE sql AS $$
    SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.job'::regclass AND NOT tgisinternal ORDER BY 1 $$;
CREATE FUNCTION pg_temp.told() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', key, type, payload ->> 'from', payload ->> 'to', payload ->> 'version') FROM events.log WHERE type IN ('deal.on', 'deal.off') ORDER BY seq $$;
SELECT pg_temp.define_job();
SELECT results_eq('SELECT pg_temp.job_triggers()', $$ VALUES ('zz_lifecycle_check'::name) $$, 'where nothing can come between, the check emits itself');
INSERT INTO app.job VALUES (1, 'off'), (2, 'off'), (3, 'off');
UPDATE app.job SET state = 'on' WHERE id < 3;
UPDATE app.job SET note = 'x';
INSERT INTO app.job VALUES (1, 'off'), (4, 'off') ON CONFLICT (id) DO UPDATE SET state = excluded.state;
INSERT INTO app.job VALUES (1, 'off') ON CONFLICT (id) DO NOTHING;
MERGE INTO app.job USING (VALUES (1, 'on'), (9, 'on')) n (id, state) ON job.id = n.id WHEN MATCHED THEN UPDATE SET state = n.state WHEN NOT MATCHED THEN DO NOTHING;
SELECT results_eq('SELECT pg_temp.told()', $$ VALUES ('1 deal.on off on 2'), ('2 deal.on off on 2'), ('1 deal.off on off 4'), ('1 deal.on off on 5') $$,
    'one event a step, however the row is updated; the version is that of the row');
SELECT results_eq('SELECT id, version FROM app.job ORDER BY 1', 'VALUES (1, 5), (2, 3), (3, 2), (4, 1)', 'as it stands there');
CREATE FUNCTION app.drop_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION app.switch_off() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.state := 'off'; new.note := 'switched'; RETURN new; END$$;
CREATE TRIGGER early BEFORE UPDATE ON app.job FOR EACH ROW EXECUTE FUNCTION app.drop_write();
UPDATE app.job SET state = 'off' WHERE id = 1;
DROP TRIGGER early ON app.job;
CREATE TRIGGER early BEFORE UPDATE ON app.job FOR EACH ROW EXECUTE FUNCTION app.switch_off();
UPDATE app.job SET state = 'on' WHERE id = 3;
UPDATE app.job SET state = 'on' WHERE id = 2;
DROP TRIGGER early ON app.job;
SELECT results_eq('SELECT pg_temp.told() OFFSET 4', $$ VALUES ('2 deal.off on off 4') $$, 'what a trigger before the check drops or makes of the row is what is told');
SELECT throws_ok($$ UPDATE app.job SET state = 'on', id = 1 WHERE id = 2 $$, '23505', NULL, 'a write that fails');
SELECT is((SELECT count(*) FROM pg_temp.told()), 5::bigint, 'takes its event with it');

CREATE TRIGGER zzz BEFORE UPDATE ON app.job FOR EACH ROW EXECUTE FUNCTION app.drop_write();
SELECT throws_ok($$ UPDATE app.job SET state = 'off' WHERE id = 1 $$, '39P01', 'the life cycle "app.job" of job must be defined again', 'a trigger that fires after the check');
SELECT throws_ok($$ UPDATE app.job SET note = 'y' WHERE id = 1 $$, '39P01', NULL, 'could make a step of an update that is none');
ALTER TABLE app.job DISABLE TRIGGER zzz;
SELECT lives_ok($$ UPDATE app.job SET state = 'off' WHERE id = 1 $$, 'nor while it is disabled');
ALTER TABLE app.job ENABLE TRIGGER zzz;
SELECT pg_temp.define_job();
SELECT results_eq('SELECT pg_temp.job_triggers()', $$ VALUES ('zz_lifecycle_check'::name), ('zz_lifecycle_emit_update'), ('zzz') $$, 'defined again, a trigger emits afterwards');
UPDATE app.job SET state = 'on' WHERE id = 1;
SELECT is((SELECT count(*) FROM pg_temp.told()), 6::bigint, 'what was dropped after the check is not told');
DROP TRIGGER zzz ON app.job;
CREATE TRIGGER zzz BEFORE UPDATE ON app.job FOR EACH ROW EXECUTE FUNCTION app.switch_off();
UPDATE app.job SET state = 'on' WHERE id = 1;
SELECT is((SELECT count(*) FROM pg_temp.told()), 6::bigint, 'nor a step that was taken back');
DROP TRIGGER zzz ON app.job;
UPDATE app.job SET state = 'on' WHERE id = 1;
SELECT results_eq('SELECT pg_temp.told() OFFSET 6', $$ VALUES ('1 deal.on off on 8') $$, 'what was written is, once');
SELECT pg_temp.define_job();
SELECT results_eq('SELECT pg_temp.job_triggers()', $$ VALUES ('zz_lifecycle_check'::name) $$, 'and without the other trigger the check emits again');

CREATE TRIGGER zzz BEFORE INSERT ON app.job FOR EACH ROW EXECUTE FUNCTION app.switch_off();
SELECT throws_ok($$ INSERT INTO app.job VALUES (7, 'off') $$, '39P01', NULL, 'a row that begins may be changed behind the check as well');
DROP TRIGGER zzz ON app.job;
CREATE TABLE app.silent (id int PRIMARY KEY, state text NOT NULL);
CREATE FUNCTION app.astray() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.state := 'astray'; RETURN new; END$$;
CREATE FUNCTION pg_temp.define_silent() RETURNS void LANGUAGE sql AS $$
    SELECT lifecycle.define('app.silent', 'state', '{"initial": "off", "emit": false, "states": ["off", "on", "astray"],
        "transitions": [{"from": "off", "to": "on"}, {"from": "on", "to": "astray"}]}') $$;
SELECT pg_temp.define_silent();
INSERT INTO app.silent VALUES (1, 'off');
CREATE TRIGGER zzz BEFORE INSERT OR UPDATE ON app.silent FOR EACH ROW EXECUTE FUNCTION app.astray();
SELECT throws_ok($$ UPDATE app.silent SET id = 2 $$, '39P01', NULL, 'also where nothing is told at all');
SELECT pg_temp.define_silent();
SELECT throws_ok($$ UPDATE app.silent SET id = 2 $$, 'PT409', 'app.silent can''t go from "off" to "astray"', 'defined again, a trigger looks afterwards');
SELECT throws_ok($$ INSERT INTO app.silent VALUES (2, 'off') $$, 'PT409', 'app.silent can''t begin as "astray"', 'at the beginning too');
DROP TRIGGER zzz ON app.silent;
SELECT lives_ok($$ UPDATE app.silent SET state = 'on' $$, 'and finds nothing where nothing was changed');
SELECT pg_temp.define_silent();
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.silent'::regclass), 1::bigint, 'nor is it kept');

CREATE FUNCTION app.turn(old app.job, new app.job) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    PERFORM lifecycle.define('app.deal', 'state', '{"initial": ["draft", "open", "won", "lost"], "states": ["draft", "open", "won", "lost"], "transitions": []}');
    RETURN true; END $$;
SELECT lifecycle.define('app.job', 'state', '{"initial": "off", "topic": "app.deals", "version": "version", "states": ["off", "on"],
    "transitions": [{"from": "off", "to": "on", "event": "deal.on", "guard": "app.turn"}, {"from": "on", "to": "off", "event": "deal.off", "guard": "app.turn"}]}');
UPDATE app.job SET state = 'off' WHERE id = 1;
SELECT results_eq('SELECT pg_temp.told() OFFSET 7', $$ VALUES ('1 deal.off on off 9') $$, 'a guard may redefine life cycles before the event is emitted');

CREATE TABLE app.jobs (LIKE app.job) PARTITION BY LIST (id);
DELETE FROM app.job WHERE id > 1;
ALTER TABLE app.jobs ATTACH PARTITION app.job FOR VALUES IN (1);
SELECT throws_ok($$ UPDATE app.jobs SET state = 'on' $$, '39P01', NULL, 'a table that became a partition is to be defined again');
SELECT pg_temp.define_job();
UPDATE app.jobs SET state = 'on';
SELECT results_eq('SELECT pg_temp.told() OFFSET 8', $$ VALUES ('1 deal.on off on 10') $$, 'and emits afterwards');
CREATE TABLE app.computed (n int, id text GENERATED ALWAYS AS ('no ' || n) STORED, state text NOT NULL);
SELECT lifecycle.define('app.computed', 'state', '{"initial": "off", "topic": "app.deals", "transitions": [{"from": "off", "to": "on", "event": "deal.on"}]}');
INSERT INTO app.computed VALUES (1, DEFAULT, 'off');
UPDATE app.computed SET n = 2, state = 'on';
SELECT results_eq('SELECT pg_temp.told() OFFSET 9', $$ VALUES ('no 2 deal.on off on') $$, 'a generated key is known after the write only');

-- who writes the table need not be known to us
CREATE TABLE app.door (id int PRIMARY KEY, organization_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001', state text NOT NULL);
CREATE FUNCTION pg_temp.define_door() RETURNS void LANGUAGE sql AS $$
    SELECT lifecycle.define('app.door', 'state', '{"initial": "off", "topic": "app.deals", "organization": "organization_id",
        "transitions": [{"from": "off", "to": "on", "event": "deal.on"}, {"from": "on", "to": "off", "event": "deal.off"}]}') $$;
CREATE FUNCTION pg_temp.told_of_doors() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT key || ' ' || type FROM events.log WHERE payload ->> 'entity' = 'app.door' ORDER BY seq $$;
SELECT pg_temp.define_door();
INSERT INTO app.door (id, state) SELECT i, 'off' FROM generate_series(1, 5) i;
CREATE ROLE app_writer;
GRANT USAGE ON SCHEMA app TO app_writer;
GRANT SELECT, UPDATE ON app.door TO app_writer;
SET LOCAL ROLE app_writer;
SELECT lives_ok($$ UPDATE app.door SET state = 'on' WHERE id = 1 $$, 'a role that may not use the schema lifecycle takes a step');
RESET ROLE;
SELECT results_eq('SELECT pg_temp.told_of_doors()', $$ VALUES ('1 deal.on') $$, 'and its event is told');
CREATE FUNCTION app.turn_for(which int, new_state text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'UPDATE app.door SET state = new_state WHERE id = which';
SET LOCAL ROLE app_writer;
SET LOCAL row_security = off;
SELECT lives_ok($$ SELECT app.turn_for(2, 'on') $$, 'row_security = off, set by who calls a function of the owner,');
SELECT throws_ok($$ SELECT app.turn_for(2, 'on'); SELECT app.turn_for(2, 'gone') $$, '22023', NULL, 'lets through no unknown state,');
SET LOCAL row_security = on;
RESET ROLE;
SELECT results_eq('SELECT pg_temp.told_of_doors() OFFSET 1', $$ VALUES ('2 deal.on') $$, 'and no step untold');

-- nor is it a matter of the triggers' names, or of what is under way
ALTER TRIGGER zz_lifecycle_check ON app.door RENAME TO another;
SELECT pg_temp.define_door();
SELECT results_eq($$ SELECT tgname FROM pg_trigger WHERE tgrelid = 'app.door'::regclass $$, $$ VALUES ('zz_lifecycle_check'::name) $$, 'a renamed trigger is replaced');
UPDATE app.door SET state = 'on' WHERE id = 3;
SELECT results_eq('SELECT pg_temp.told_of_doors() OFFSET 2', $$ VALUES ('3 deal.on') $$, 'and the step is told once');
CREATE FUNCTION app.tell(old app.door, new app.door, from_state text, to_state text) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"entity": "app.door"}'::jsonb $$;
CREATE FUNCTION app.redefine(old app.door, new app.door) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    PERFORM lifecycle.define('app.door', 'state', '{"initial": "off", "topic": "app.deals", "organization": "organization_id", "payload": "app.tell", "states": ["off", "on"],
        "transitions": [{"from": "off", "to": "on", "event": "deal.on"}, {"from": "on", "to": "off", "event": "deal.off"}]}');
    RETURN true; END $$;
SELECT lifecycle.define('app.door', 'state', '{"initial": "off", "topic": "app.deals", "organization": "organization_id",
    "transitions": [{"from": "off", "to": "on", "event": "deal.on", "guard": "app.redefine"}, {"from": "on", "to": "off", "event": "deal.off"}]}');
SELECT throws_ok($$ UPDATE app.door SET state = 'on' WHERE id = 4 $$, '55006', NULL, 'a statement under way does not know the triggers of a new definition');
CREATE TABLE app.derived (id int, n int, state text GENERATED ALWAYS AS (CASE n WHEN 1 THEN 'off' ELSE 'on' END) STORED);
SELECT throws_ok($$ SELECT lifecycle.define('app.derived', 'state', '{"initial": "off", "transitions": {"off": "on"}}') $$, '22023', NULL, 'a generated state is computed after the check');

-- a row that moves to another partition is deleted and inserted
CREATE TABLE app.moved (id int, region text, state text NOT NULL, version int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE app.moved_a (state text NOT NULL, version int, region text NOT NULL, id int NOT NULL);
ALTER TABLE app.moved ATTACH PARTITION app.moved_a FOR VALUES IN ('a', 'c');
CREATE TABLE app.moved_b PARTITION OF app.moved DEFAULT;
SELECT lifecycle.define('app.moved', 'state', '{"initial": "off", "topic": "app.deals", "version": "version",
    "transitions": [{"to": "off", "event": "deal.made"}, {"from": "off", "to": "on", "event": "deal.on"}]}');
INSERT INTO app.moved VALUES (1, 'a', 'off'), (2, 'z', 'off');
SELECT throws_ok($$ UPDATE app.moved SET region = 'b' WHERE id = 1 $$, 'PT409', 'a row of app.moved can''t move to another partition', 'its life would seem to begin anew');
SELECT throws_ok($$ UPDATE app.moved SET region = 'a', state = 'on' WHERE id = 2 $$, 'PT409', 'a row of app.moved can''t move to another partition', 'from the default partition too');
SELECT lives_ok($$ UPDATE app.moved SET region = 'c', state = 'on' WHERE id = 1 $$, 'within its partition it may go where it likes');
SELECT results_eq($$ SELECT type, payload ->> 'version' FROM events.log WHERE payload ->> 'entity' = 'app.moved' AND payload ->> 'id' = '1' ORDER BY seq $$,
    $$ VALUES ('deal.made', '1'), ('deal.on', '2') $$, 'and each step is told once');
-- nor is it sent there by a trigger behind the check
CREATE FUNCTION app.send() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.region := CASE WHEN NEW.id IN (1, 3) AND NEW.version > 2 THEN 'b' ELSE NEW.region END; RETURN NEW; END $$;
CREATE TRIGGER zzz_send BEFORE UPDATE ON app.moved FOR EACH ROW EXECUTE FUNCTION app.send();
SELECT lifecycle.define('app.moved', 'state', '{"initial": "off", "topic": "app.deals", "version": "version",
    "transitions": [{"to": "off", "event": "deal.made"}, {"from": "off", "to": "on", "event": "deal.on"}, {"from": "on", "to": "off", "event": "deal.off"}]}');
INSERT INTO app.moved VALUES (3, 'a', 'off'), (4, 'a', 'off'), (5, 'z', 'off');
SELECT throws_ok($$ UPDATE app.moved SET state = 'off' WHERE id = 1 $$, 'PT409', 'a row of app.moved can''t move to another partition', 'a trigger behind the check sends it nowhere');
SELECT lives_ok($$ UPDATE app.moved SET state = 'on' WHERE id <> 1 $$, 'those that stay are changed');
SELECT throws_ok($$ UPDATE app.moved SET state = 'off' WHERE id <> 1 $$, 'PT409', 'a row of app.moved can''t move to another partition', 'one among many');
SELECT lives_ok($$ WITH gone AS (DELETE FROM app.moved WHERE id = 4 RETURNING id) INSERT INTO app.moved SELECT id, 'z', 'off' FROM gone $$, 'who deletes and inserts, does so');
SELECT lives_ok($$ DO 'BEGIN UPDATE app.moved SET version = 0 WHERE id = 5; DELETE FROM app.moved WHERE id = 5; INSERT INTO app.moved VALUES (5, ''a'', ''off''); END' $$, 'also after an UPDATE');
SELECT results_eq($$ SELECT type FROM events.log WHERE payload ->> 'entity' = 'app.moved' AND payload ->> 'id' = '3' ORDER BY seq $$,
    $$ VALUES ('deal.made'), ('deal.on') $$, 'nobody was told of a second beginning');

-- a definition whose table was renamed is nobody's prey
CREATE TABLE app.old_name (id int PRIMARY KEY, organization_id uuid, state text NOT NULL);
SELECT lifecycle.define('app.old_name', 'state', '{"initial": "off", "topic": "app.deals", "organization": "organization_id", "transitions": [{"from": "off", "to": "on", "event": "deal.on"}]}');
ALTER TABLE app.old_name RENAME TO new_name;
INSERT INTO app.new_name VALUES (1, '00000000-0000-0000-0000-000000000001', 'off');
SELECT lives_ok($$ UPDATE app.new_name SET state = 'on' $$, 'the renamed table goes on');
CREATE ROLE app_thief;
GRANT backoffice_service TO app_thief;
CREATE SCHEMA thief AUTHORIZATION app_thief;
SET LOCAL ROLE app_thief;
CREATE TABLE thief.own (id int, organization_id uuid, state text NOT NULL);
CREATE TRIGGER c BEFORE INSERT OR UPDATE ON thief.own FOR EACH ROW EXECUTE FUNCTION lifecycle.check_row('app.old_name');
SELECT throws_ok($$ INSERT INTO thief.own VALUES (1, '00000000-0000-0000-0000-000000000002', 'off') $$, '39P01', NULL, 'a service''s own table does not emit for it');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
