CREATE SCHEMA api;
COMMENT ON SCHEMA api IS 'what HTTP exposes: one function per route';
GRANT USAGE ON SCHEMA api TO backoffice_anon, backoffice_user, backoffice_service, backoffice_definer;

-- Once: what an administrator says later stays.
SELECT events.let_listen(t.topic, t.permission)
FROM (VALUES ('GiftCertificates.Stream', 'certificates.read'), ('access.users', 'access.read_audit'), ('access.teams', 'access.read'),
             ('access.audit', 'access.read_audit')) AS t (topic, permission);
