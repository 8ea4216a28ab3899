-- Organizations, users and what they may do.
CREATE TEMP TABLE ids (name text PRIMARY KEY, id uuid);
GRANT SELECT, INSERT ON ids TO backoffice_service;
CREATE FUNCTION pg_temp.id(text) RETURNS uuid LANGUAGE sql STABLE AS 'SELECT id FROM ids WHERE name = $1';
SET ROLE backoffice_service;
INSERT INTO ids VALUES ('Acme', access.create_organization('Acme')), ('Bolt', access.create_organization('Bolt'));

-- What this context lets people do, and the roles a new organization starts with.
SELECT name, description FROM access.permissions WHERE name LIKE 'access.%' ORDER BY name;
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT name, permissions, inherits FROM access.roles WHERE name IN ('owner', 'administrator', 'member') ORDER BY name;

-- A service acts for the organization: it may do everything in it.
SELECT access.can('access.manage_members'), access.user_id();
INSERT INTO ids VALUES ('Ann', access.create_user('ann@acme.test', 'correct horse battery staple')),
                       ('Bob', access.create_user('bob@acme.test'));
SELECT access.grant_role(pg_temp.id('Ann'), 'owner');
SELECT access.define_role('front-desk', ARRAY['access.read'], ARRAY['member']);
SELECT access.grant_role(pg_temp.id('Bob'), 'front-desk');
SELECT email, state, roles FROM access.members ORDER BY email;
COMMIT;

-- A user acts.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Bob'));
SELECT access.organization_id() = pg_temp.id('Acme') AS organization, access.user_id() = pg_temp.id('Bob') AS "user";
SELECT access.can('access.read'), access.can('access.manage_roles');
SELECT access.require('access.manage_roles');
ROLLBACK;

-- The end of the transaction ends it, and nobody may do nothing.
SELECT access.organization_id(), access.user_id(), access.can('access.read');
SELECT access.require('access.read');
SELECT count(*) FROM access.members;

-- Once per transaction.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Ann'));
SELECT access.act_as(pg_temp.id('Bolt'));
ROLLBACK;

-- Nobody hands out more than he has.
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'));
SELECT access.grant_role(pg_temp.id('Bob'), 'administrator');
COMMIT;
BEGIN;
SELECT access.act_as(pg_temp.id('Acme'), pg_temp.id('Bob'));
SAVEPOINT s;
SELECT access.grant_role(pg_temp.id('Bob'), 'owner');
ROLLBACK TO s;
SELECT access.revoke_role(pg_temp.id('Bob'), 'front-desk');
COMMIT;

-- Changes of rights are events.
RESET ROLE;
SELECT l.type, l.payload ->> 'role' AS role, u.email AS whose, b.email AS by
FROM events.log l JOIN events.topics t ON t.id = l.topic_id
LEFT JOIN access.users u ON u.id::text = l.payload ->> 'userId' LEFT JOIN access.users b ON b.id::text = l.payload ->> 'by'
WHERE t.name = 'access.audit' ORDER BY l.seq;
