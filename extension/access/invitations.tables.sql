-- access: who was asked to join an organization, by e-mail address. Gone when accepted, withdrawn or over.
CREATE TABLE access.invitations (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    email text NOT NULL CHECK (octet_length(email) <= 254),
    role text NOT NULL,
    invited_by uuid,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, role) REFERENCES access.roles
);
CREATE UNIQUE INDEX invitations_email_key ON access.invitations (organization_id, lower(email));
CREATE INDEX invitations_email_idx ON access.invitations (lower(email));
COMMENT ON TABLE access.invitations IS 'Who was asked to join an organization, whether there is such a user or not: an organization never learns which addresses are known.';
COMMENT ON COLUMN access.invitations.invited_by IS 'The user who asked; NULL: a service.';

ALTER TABLE access.invitations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.invitations USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.invitations TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.invitations TO backoffice_definer, backoffice_kernel;
GRANT SELECT ON access.invitations TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.invitations', '');
