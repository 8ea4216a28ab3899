-- access: what happened to an organization's users and rights, to be looked at: written from the event log, once per event.
CREATE TABLE access.audit_entries (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    type text NOT NULL,
    payload jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE access.audit_entries IS 'Events of access.audit, access.users and access.teams that belong to an organization. id: of the event, so that they are in the order of their making.';

ALTER TABLE access.audit_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.audit_entries USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.audit_entries TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON access.audit_entries TO backoffice_definer;
GRANT SELECT, DELETE ON access.audit_entries TO backoffice_kernel;
GRANT SELECT ON access.audit_entries TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.audit_entries', '');
