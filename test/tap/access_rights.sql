-- Rights are cached per backend: every way in which the cache could go stale, within one session. (Between sessions: the
-- isolation spec revoked-permission.) Many transactions, so not in one.
SELECT plan(39);

-- What a user may do in a transaction of its own; two questions, so that a flip would show.
CREATE FUNCTION pg_temp.may(organization uuid, acting uuid, permission text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first boolean;
    second boolean;
BEGIN
    PERFORM access.act_as(organization, acting);
    first := access.can(permission);
    second := access.can(permission);
    IF first <> second THEN RETURN 'flips'; END IF;
    RETURN CASE WHEN first THEN 'yes' ELSE 'no' END;
EXCEPTION WHEN OTHERS THEN
    DECLARE code text; BEGIN GET STACKED DIAGNOSTICS code = CONSTRAINT_NAME; RETURN code; END;
END $$;

SELECT access.define_permission('shop.sell', 'sell');
SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', NULL, :'acme') AS ann \gset
SELECT access.define_role('seller', ARRAY['shop.sell'], '{}', :'acme');
SELECT access.define_role('chief', '{}', ARRAY['seller'], :'acme');

SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'no role');
SELECT access.grant_role(:'ann', 'seller', NULL, :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'granted');
SELECT access.revoke_role(:'ann', 'seller', :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'revoked');
SELECT access.grant_role(:'ann', 'chief', NULL, :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'inherited');
SELECT access.define_role('seller', '{}', '{}', :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'the inherited role redefined');
SELECT access.define_role('seller', '{shop.*}', '{}', :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'with a wildcard');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.close'), 'no', 'a permission to come');
SELECT access.define_permission('shop.close', 'close');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.close'), 'yes', 'is the wildcard''s at once');
SELECT access.define_permission('shopping.go', 'not the shop''s');
SELECT is(pg_temp.may(:'acme', :'ann', 'shopping.go'), 'no', 'another context''s is not');
SELECT is(pg_temp.may(:'bolt', :'ann', 'shop.sell'), 'not_a_member', 'nor anything in another organization');

-- ---- one transaction, one answer ----
BEGIN;
SELECT access.act_as(:'acme', :'ann') \gset ignored_
SELECT access.can('shop.sell') AS before \gset
SELECT access.require('shop.sell') \gset ignored_
DELETE FROM access.role_grants WHERE organization_id = :'acme';
SELECT access.can('shop.sell') AS within \gset
SELECT access.act_as(:'acme', :'ann') \gset ignored_
SELECT access.can('shop.sell') AS again \gset
COMMIT;
SELECT is(:'before'::text || :'within'::text || :'again'::text, 'ttt', 'a right stays for the transaction');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'and is gone with the next (rows deleted directly)');
INSERT INTO access.role_grants (organization_id, user_id, role) VALUES (:'acme', :'ann', 'seller');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'rows inserted directly');
UPDATE access.roles SET permissions = '{}' WHERE organization_id = :'acme' AND name = 'seller';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'rows updated directly');
UPDATE access.roles SET permissions = '{*}' WHERE organization_id = :'acme' AND name = 'seller';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'and again');
TRUNCATE access.role_grants;
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'TRUNCATE');

-- ---- what is rolled back was never there ----
SELECT access.grant_role(:'ann', 'member', NULL, :'acme');
BEGIN;
SELECT access.grant_role(:'ann', 'seller', NULL, :'acme');
SAVEPOINT s;
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'an uncommitted grant counts in its transaction');
ROLLBACK;
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'but not after its rollback');
BEGIN;
SAVEPOINT s;
SELECT access.grant_role(:'ann', 'seller', NULL, :'acme');
SELECT access.act_as(:'acme', :'ann') \gset ignored_
SELECT access.can('shop.sell') AS inside \gset
ROLLBACK TO s;
SELECT access.act_as(:'acme', :'ann') \gset ignored_
SELECT access.can('shop.sell') AS outside \gset
COMMIT;
SELECT is(:'inside'::text || :'outside'::text, 'tf', 'nor after its savepoint''s');
BEGIN;
SELECT access.grant_role(:'ann', 'seller', NULL, :'acme');
SELECT pg_temp.may(:'acme', :'ann', 'shop.sell') AS inside \gset
ROLLBACK;
BEGIN;
DELETE FROM access.role_grants WHERE organization_id = :'acme';
SELECT is(pg_temp.may(:'acme', :'ann', 'access.read'), 'no', 'an uncommitted revoke counts in its transaction');
ROLLBACK;
SELECT is(pg_temp.may(:'acme', :'ann', 'access.read'), 'yes', 'but not after its rollback');

-- ---- two-phase commit ----
BEGIN;
INSERT INTO access.role_grants (organization_id, user_id, role) VALUES (:'acme', :'ann', 'seller');
SELECT access.act_as(:'acme', :'ann') \gset ignored_
SELECT access.can('shop.sell') AS inside \gset
PREPARE TRANSACTION 'grant';
SELECT is(:'inside'::text, 't', 'a grant about to be prepared');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'is not there while prepared');
COMMIT PREPARED 'grant';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'is after COMMIT PREPARED');
BEGIN;
DELETE FROM access.role_grants WHERE organization_id = :'acme' AND role = 'seller';
PREPARE TRANSACTION 'revoke';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'a prepared revoke');
COMMIT PREPARED 'revoke';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'counts after COMMIT PREPARED');

-- ---- time ----
SET backoffice.frozen_now = '2030-01-01 12:00+00';
SELECT access.grant_role(:'ann', 'seller', '2030-01-02 00:00+00', :'acme');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'a grant with an end');
SET backoffice.frozen_now = '2030-01-01 23:59:59.999999+00';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'lasts until then');
SET backoffice.frozen_now = '2030-01-02 00:00+00';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'no', 'and not longer, cached or not');
SET backoffice.frozen_now = '2030-01-01 12:00+00';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'a clock set back is noticed');
RESET backoffice.frozen_now;

-- ---- states ----
SELECT access.set_user_state(:'ann', 'disabled');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'user_disabled', 'a disabled user does not act');
SELECT access.set_user_state(:'ann', 'active');
SELECT access.set_organization_state(:'acme', 'suspended');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'organization_suspended', 'nor does anybody of a suspended organization');
SELECT is(pg_temp.may(:'acme', NULL, 'shop.sell'), 'organization_suspended', 'not even a service');
SELECT access.set_organization_state(:'acme', 'active');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'yes', 'back in service');
UPDATE access.memberships SET state = 'suspended' WHERE organization_id = :'acme';
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'membership_suspended', 'a suspended member does not act');
SELECT access.remove_member(:'acme', :'ann');
SELECT is(pg_temp.may(:'acme', :'ann', 'shop.sell'), 'not_a_member', 'nor does a former one');

-- ---- what nobody has defined costs no more than what somebody has ----
CREATE FUNCTION pg_temp.scans() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_stat_get_xact_numscans('access.permissions'::regclass) $$;
BEGIN;
SELECT access.can('shop.sell'), pg_temp.scans() AS before \gset
SELECT count(*) FILTER (WHERE access.can('shop.' || n)) AS held, count(*) FILTER (WHERE access.can('shop.never')) FROM generate_series(1, 100) n \gset
SELECT is(pg_temp.scans() - :before, 0::bigint, 'unknown names are not looked for in the catalogue each time');
SELECT is(access.can(repeat('x', 64)), false, 'nor one that is too long');
COMMIT;
SELECT access.define_permission('shop.never', 'after all');
SELECT is(pg_temp.may(:'acme', NULL, 'shop.never'), 'yes', 'and defined later it is known');

SELECT * FROM finish();
