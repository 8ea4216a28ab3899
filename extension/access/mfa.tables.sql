-- Second factors: one row per authenticator application.
CREATE TABLE access.mfa_factors (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES access.users,
    label text NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 100),
    seed bytea NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active')),
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    activated_at timestamptz
);
CREATE INDEX mfa_factors_user_id_idx ON access.mfa_factors (user_id);
COMMENT ON TABLE access.mfa_factors IS 'Authenticator applications that users have enrolled. seed: encrypted under a key that the database does not hold; last_step: the latest time step whose code was used, so that none is used twice.';

CREATE TABLE access.recovery_codes (
    user_id uuid NOT NULL REFERENCES access.users,
    code_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);
COMMENT ON TABLE access.recovery_codes IS 'Codes that stand in for a lost authenticator, once each; keyed hashes.';

ALTER TABLE access.mfa_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.recovery_codes ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.mfa_factors TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.recovery_codes TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.mfa_factors, access.recovery_codes TO backoffice_kernel;

SELECT pg_catalog.pg_extension_config_dump('access.mfa_factors', '');
SELECT pg_catalog.pg_extension_config_dump('access.recovery_codes', '');

-- Whether a user has a factor decides what they may do in a session without.
CREATE TRIGGER rights_changed AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.mfa_factors EXECUTE FUNCTION access.rights_changed();

-- Never holds a row: its relcache entry is invalidated when what the answers to log-ins say of users changes (see access/person.c).
CREATE TABLE access.people_marker ();
COMMENT ON TABLE access.people_marker IS 'Empty. Backends forget cached users when this table''s relcache entry is invalidated.';
CREATE FUNCTION access.people_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_people_changed';
COMMENT ON FUNCTION access.people_changed() IS
'Trigger: makes every backend forget the users it has cached, at the commit of this transaction. Permission: none, fired by the tables of access.';
CREATE TRIGGER people_changed AFTER UPDATE OF email, state OR DELETE OR TRUNCATE ON access.users EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.memberships EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.organizations EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.mfa_factors EXECUTE FUNCTION access.people_changed();
