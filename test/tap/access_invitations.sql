-- Invitations: who may ask whom, and that nobody learns from it which addresses are known.
BEGIN;
SELECT plan(20);
SELECT set_config('backoffice.frozen_now', '2026-11-02 12:00:00+00', true);
CREATE TEMP TABLE ids (name text PRIMARY KEY, id uuid);
CREATE FUNCTION pg_temp.id(text) RETURNS uuid LANGUAGE sql STABLE AS 'SELECT id FROM ids WHERE name = $1';
INSERT INTO ids VALUES ('Acme', access.create_organization('Acme')), ('Bolt', access.create_organization('Bolt'));
INSERT INTO ids VALUES ('Ann', access.create_user('ann@acme.test', NULL, pg_temp.id('Acme'))), ('Amy', access.create_user('amy@acme.test', NULL, pg_temp.id('Acme'))),
                       ('Ben', access.create_user('ben@bolt.test', NULL, pg_temp.id('Bolt'))), ('Bea', access.create_user('bea@bolt.test', NULL, pg_temp.id('Bolt')));
SELECT access.grant_role(pg_temp.id('Ann'), 'owner', NULL, pg_temp.id('Acme')), access.grant_role(pg_temp.id('Amy'), 'administrator', NULL, pg_temp.id('Acme'));

SAVEPOINT ann;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
INSERT INTO ids VALUES ('to Ben', access.invite('Ben@Bolt.test', 'owner')), ('to nobody', access.invite('nobody@bolt.test'));
SELECT is(access.invite('BEN@bolt.test', 'member'), pg_temp.id('to Ben'), 'the same address again: the same invitation');
SELECT results_eq($$ SELECT email, role, expires_at FROM access.invitations ORDER BY id $$,
    $$ VALUES ('Ben@Bolt.test', 'member', timestamptz '2026-11-09 12:00:00+00'), ('nobody@bolt.test', 'member', '2026-11-09 12:00:00+00') $$, 'changed, and told of nobody whether they are known');
SELECT throws_ok($$ SELECT access.invite('AMY@acme.test') $$, 'PT409', NULL, 'a member needs no invitation');
SELECT throws_ok($$ SELECT access.invite('no address') $$, '22023', NULL, 'an address is one');
SELECT throws_ok($$ SELECT access.invite('x@y.test', 'no-such-role') $$, 'PT404', NULL, 'the role is the organization''s');
SELECT throws_ok($$ SELECT access.invite('x@y.test', 'member', '0') $$, '22023', NULL, 'it lasts longer than nothing');
SELECT throws_ok($$ SELECT access.invite('x@y.test', 'member', '2 years') $$, '22023', NULL, 'and not for ever');
SELECT throws_ok(format('SELECT access.accept_invitation(%L)', pg_temp.id('to Ben')), 'PT404', NULL, 'another''s is nobody''s');
SELECT is((SELECT count(*) FROM access.my_invitations()), 0::bigint, 'who invites is not invited');
ROLLBACK TO ann;

INSERT INTO ids VALUES ('to Ben', access.invite('ben@bolt.test', 'administrator', '1 day', pg_temp.id('Acme'))),
                       ('to Bea', access.invite('bea@bolt.test', organization => pg_temp.id('Acme')));
SAVEPOINT who;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Amy'));
SELECT throws_ok($$ SELECT access.invite('x@y.test', 'owner') $$, '42501', NULL, 'nobody offers more than he has');
SELECT ok(access.withdraw_invitation(pg_temp.id('to Bea')), 'withdrawn');
SELECT ok(NOT access.withdraw_invitation(pg_temp.id('to Bea')), 'once');
ROLLBACK TO who;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT throws_ok(format('SELECT access.accept_invitation(%L)', pg_temp.id('to Ben')), '42501', NULL, 'a service accepts nothing');
ROLLBACK TO who;
SELECT access.act_as(pg_temp.id('Bolt'), pg_temp.id('Bea'));
SELECT throws_ok(format('SELECT access.accept_invitation(%L)', pg_temp.id('to Ben')), 'PT404', NULL, 'nor does whoever knows the id');
ROLLBACK TO who;
SELECT access.act_as(pg_temp.id('Bolt'), pg_temp.id('Ben'));
SELECT results_eq($$ SELECT id, organization, role FROM access.my_invitations() $$, $$ SELECT pg_temp.id('to Ben'), 'Acme', 'administrator' $$, 'the one who was asked sees it, from his own organization');
SELECT throws_ok($$ SELECT access.invite('x@y.test') $$, '42501', NULL, 'a member without the permission invites nobody');
SAVEPOINT late;
SELECT set_config('backoffice.frozen_now', '2026-11-03 12:00:00+00', true);
SELECT throws_ok(format('SELECT access.accept_invitation(%L)', pg_temp.id('to Ben')), 'PT404', NULL, 'an invitation is over in time');
ROLLBACK TO late;
SELECT is(access.accept_invitation(pg_temp.id('to Ben')), pg_temp.id('Acme'), 'accepted');
SELECT throws_ok(format('SELECT access.accept_invitation(%L)', pg_temp.id('to Ben')), 'PT404', NULL, 'once');
SELECT results_eq($$ SELECT m.state, g.role FROM access.memberships m JOIN access.role_grants g USING (organization_id, user_id)
                     WHERE m.organization_id = pg_temp.id('Acme') AND m.user_id = pg_temp.id('Ben') $$, $$ VALUES ('active', 'administrator') $$, 'he belongs to it, with the role');
SELECT * FROM finish();
ROLLBACK;
