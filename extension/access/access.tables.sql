CREATE SCHEMA access;
COMMENT ON SCHEMA access IS 'organizations, users, roles, permissions, and who acts in a transaction';
GRANT USAGE ON SCHEMA access TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- The roots of tenancy: id is what every tenant table calls organization_id.
CREATE TABLE access.organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 200),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.organizations IS 'Tenants. A suspended one cannot be acted for.';

-- A directory, not a tenant table: one person is one user, whatever organizations they belong to.
CREATE TABLE access.users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (octet_length(email) <= 254),
    password_hash text,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    email_said_by uuid REFERENCES access.organizations
);
CREATE UNIQUE INDEX users_email_key ON access.users (lower(email)) WHERE email_said_by IS NULL;
CREATE UNIQUE INDEX users_email_said_key ON access.users (lower(email), email_said_by);
COMMENT ON TABLE access.users IS 'People, across organizations: one row per e-mail address, upper and lower case alike, and one more for each organization whose OpenID provider says it of somebody. password_hash is Argon2id, or NULL for those who cannot log in by password.';
COMMENT ON COLUMN access.users.email_said_by IS 'The organization whose own OpenID provider said the address, and for which alone it is the user''s: whose it is, nobody knows. NULL: it is the user''s.';

CREATE TABLE access.memberships (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    user_id uuid NOT NULL REFERENCES access.users,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_user_id_idx ON access.memberships (user_id);
COMMENT ON TABLE access.memberships IS 'Who belongs to which organization.';

CREATE TABLE access.roles (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    permissions text[] NOT NULL,
    inherits text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, name)
);
COMMENT ON TABLE access.roles IS 'Named sets of permissions of one organization. A permission ending in .* stands for all of its context, * for all there are, also those defined later.';

CREATE TABLE access.role_grants (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    valid_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, user_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE,
    FOREIGN KEY (organization_id, role) REFERENCES access.roles
);
CREATE INDEX role_grants_role_idx ON access.role_grants (organization_id, role);
COMMENT ON TABLE access.role_grants IS 'Who has which role, until when (NULL: until revoked).';

-- Catalogues: the same for every organization, written by contexts when they are installed.
CREATE TABLE access.permissions (
    name text PRIMARY KEY,
    bit integer NOT NULL UNIQUE CHECK (bit BETWEEN 0 AND 1023),
    description text NOT NULL,
    aal2 boolean NOT NULL,
    builtin boolean NOT NULL
);
COMMENT ON TABLE access.permissions IS 'Every permission there is. bit: its place in a user''s bitmap, given once (from 512 on for those that are not the extension''s own). aal2: held only by users who showed a second factor. Rows are never deleted.';

CREATE TABLE access.default_roles (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    permissions text[] NOT NULL,
    inherits text[] NOT NULL DEFAULT '{}',
    builtin boolean NOT NULL
);
COMMENT ON TABLE access.default_roles IS 'The roles that a new organization starts with.';

-- Never holds a row: its relcache entry is invalidated when rights change anywhere (see access/rights.c).
CREATE TABLE access.rights_marker ();
COMMENT ON TABLE access.rights_marker IS 'Empty. Backends forget cached rights when this table''s relcache entry is invalidated.';

ALTER TABLE access.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.role_grants ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON access.organizations USING (backoffice.of_current_organization(id));
CREATE POLICY tenant ON access.memberships USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.roles USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.role_grants USING (backoffice.of_current_organization(organization_id));
-- A directory is never distributed, so a subquery is allowed here; colleagues may be seen, nobody else.
CREATE POLICY colleagues ON access.users FOR SELECT
    USING (EXISTS (SELECT FROM access.memberships m
                   WHERE m.organization_id = backoffice.current_organization() AND m.user_id = users.id));
-- Rights are looked up before there is a principal.
CREATE POLICY kernel ON access.organizations TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.users TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.memberships TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.roles TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.role_grants TO backoffice_kernel USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON access.organizations, access.users, access.memberships, access.roles, access.role_grants,
    access.permissions, access.default_roles TO backoffice_kernel;
GRANT SELECT, INSERT, UPDATE, DELETE ON access.memberships, access.roles, access.role_grants TO backoffice_definer;
GRANT SELECT ON access.organizations, access.permissions TO backoffice_definer;
GRANT SELECT (id, email, state, created_at, email_said_by) ON access.users TO backoffice_definer;
-- What the security_invoker views read.
GRANT SELECT ON access.organizations, access.memberships, access.roles, access.role_grants, access.permissions TO backoffice_service;
GRANT SELECT (id, email, state, created_at, email_said_by) ON access.users TO backoffice_service;
GRANT SELECT ON access.permissions TO backoffice_admin;

SELECT pg_catalog.pg_extension_config_dump('access.organizations', '');
SELECT pg_catalog.pg_extension_config_dump('access.users', '');
SELECT pg_catalog.pg_extension_config_dump('access.memberships', '');
SELECT pg_catalog.pg_extension_config_dump('access.roles', '');
SELECT pg_catalog.pg_extension_config_dump('access.role_grants', '');
SELECT pg_catalog.pg_extension_config_dump('access.permissions', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('access.default_roles', 'WHERE NOT builtin');

-- Replaceable like any function, but the triggers below need it.
CREATE FUNCTION access.rights_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_rights_changed';
COMMENT ON FUNCTION access.rights_changed() IS
'Trigger: makes every backend forget the rights it has cached, at the commit of this transaction. Permission: none, fired by the tables of access.';

-- A new organization, user or membership changes nobody's cached rights: only positive answers are cached.
CREATE TRIGGER rights_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.organizations EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER UPDATE OF id, state OR DELETE OR TRUNCATE ON access.users EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.memberships EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.roles EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.role_grants EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.permissions EXECUTE FUNCTION access.rights_changed();
