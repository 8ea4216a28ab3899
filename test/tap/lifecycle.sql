BEGIN;
SELECT plan(42);
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
SELECT * FROM finish();
ROLLBACK;
