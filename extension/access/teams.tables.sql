CREATE TABLE access.teams (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 100),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX teams_name_key ON access.teams (organization_id, lower(name));
COMMENT ON TABLE access.teams IS 'Groups of an organization''s members, whom permissions with :team let see each other''s records.';

CREATE TABLE access.team_members (
    organization_id uuid NOT NULL,
    team_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, team_id, user_id),
    FOREIGN KEY (organization_id, team_id) REFERENCES access.teams ON DELETE CASCADE,
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE
);
CREATE INDEX team_members_user_id_idx ON access.team_members (organization_id, user_id);
COMMENT ON TABLE access.team_members IS 'Who is in which team.';

-- A directory, not a tenant table.
CREATE TABLE access.platform_administrators (
    user_id uuid PRIMARY KEY REFERENCES access.users,
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.platform_administrators IS 'Users who look after organizations, and belong to none.';

ALTER TABLE access.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.platform_administrators ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.teams USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.team_members USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.teams TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.team_members TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.platform_administrators TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.teams, access.team_members TO backoffice_definer, backoffice_kernel;
GRANT SELECT, INSERT, UPDATE, DELETE ON access.platform_administrators TO backoffice_kernel;
GRANT SELECT ON access.teams, access.team_members TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.teams', '');
SELECT pg_catalog.pg_extension_config_dump('access.team_members', '');
SELECT pg_catalog.pg_extension_config_dump('access.platform_administrators', '');

CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.team_members EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.platform_administrators EXECUTE FUNCTION access.rights_changed();
