SELECT access.define_permission(p.name, p.description) FROM (VALUES
    ('certificates.read', 'see pools and certificates (not their codes)'),
    ('certificates.manage_pools', 'create, pause, resume and close pools'),
    ('certificates.import', 'import and generate codes'),
    ('certificates.reserve', 'reserve certificates'),
    ('certificates.release', 'release reservations'),
    ('certificates.disclose_code', 'see the code of a certificate'),
    ('certificates.reveal_cvc', 'see the CVC of a certificate whose notification was requested'),
    ('certificates.verify_cvc', 'check a code and a CVC'),
    ('certificates.notify', 'request that a client is sent the CVC')) AS p (name, description);

SELECT lifecycle.define('certificates.certificates', 'state', '{
    "topic": "GiftCertificates.Stream", "organization": "organization_id", "version": "version",
    "initial": ["available"],
    "states": {
        "available": {"description": "in stock"},
        "reserved": {"description": "set aside for an order"},
        "issued": {"description": "sold"},
        "active": {"description": "in use, nothing taken"},
        "partially_redeemed": {"description": "in use, something taken"},
        "redeemed": {"description": "nothing left"},
        "blocked": {"description": "stopped; returns to the state before"},
        "expired": {"description": "its validity is over"},
        "refunded": {"description": "the purchase was refunded"},
        "voided": {"description": "the purchase was cancelled, or a hold ended after its code was shown"},
        "replaced": {"description": "its money went to a successor"},
        "retired": {"description": "withdrawn from stock"}},
    "transitions": [
        {"from": "available", "to": "reserved", "event": "certificate.reserved"},
        {"from": "reserved", "to": "available", "event": "certificate.released"},
        {"from": "reserved", "to": "voided", "event": "certificate.voided"},
        {"from": "reserved", "to": "issued", "event": "certificate.issued"},
        {"from": "available", "to": "retired", "event": "certificate.retired"},
        {"from": ["issued"], "to": "active", "event": "certificate.activated"},
        {"from": ["issued", "active"], "to": "partially_redeemed", "event": "certificate.partially_redeemed"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "redeemed", "event": "certificate.redeemed"},
        {"from": ["partially_redeemed", "redeemed"], "to": "active", "event": "certificate.restored"},
        {"from": "redeemed", "to": "partially_redeemed", "event": "certificate.restored"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "blocked", "event": "certificate.blocked"},
        {"from": "blocked", "to": "issued", "event": "certificate.unblocked"},
        {"from": "blocked", "to": "active", "event": "certificate.unblocked"},
        {"from": "blocked", "to": "partially_redeemed", "event": "certificate.unblocked"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "expired", "event": "certificate.expired"},
        {"from": "expired", "to": "issued", "event": "certificate.extended"},
        {"from": "expired", "to": "active", "event": "certificate.extended"},
        {"from": "expired", "to": "partially_redeemed", "event": "certificate.extended"},
        {"from": ["issued", "active", "blocked", "expired"], "to": "refunded", "event": "certificate.refunded"},
        {"from": ["issued", "active", "blocked", "expired"], "to": "voided", "event": "certificate.voided"},
        {"from": ["issued", "active", "partially_redeemed", "blocked"], "to": "replaced", "event": "certificate.replaced"}],
    "terminal": ["refunded", "voided", "replaced", "retired"]}');

SELECT lifecycle.define('certificates.pools', 'state', '{
    "states": {
        "open": "gives certificates",
        "low": "gives certificates, the low-water mark is passed",
        "empty": "has none to give",
        "paused": "gives none until resumed",
        "closed": "gives none any more"
    },
    "initial": ["empty"],
    "topic": "GiftCertificates.Stream",
    "organization": "organization_id",
    "version": "version",
    "transitions": [
        {"from": "open", "to": "low", "event": "pool.low"},
        {"from": "empty", "to": "low", "event": "pool.replenished"},
        {"from": ["open", "low"], "to": "empty", "event": "pool.empty"},
        {"from": ["low", "empty"], "to": "open", "event": "pool.replenished"},
        {"from": ["open", "low", "empty"], "to": "paused", "event": "pool.paused"},
        {"from": "paused", "to": "open", "event": "pool.resumed"},
        {"from": "paused", "to": "low", "event": "pool.resumed"},
        {"from": "paused", "to": "empty", "event": "pool.resumed"},
        {"from": ["open", "low", "empty", "paused"], "to": "closed", "event": "pool.closed"}
    ]}');

CREATE OR REPLACE FUNCTION certificates.pools_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_pools_changed';
COMMENT ON FUNCTION certificates.pools_changed() IS
'Trigger on certificates.pools: makes all backends forget the pools they cached. Permission: none, it is a trigger.';

CREATE OR REPLACE TRIGGER changed AFTER UPDATE OF code, currency, state, face_value_minor, low_water, hold, validity, cvc_digits, requires_activation,
        destroy_cvc_after_delivery, code_format ON certificates.pools
    FOR EACH STATEMENT EXECUTE FUNCTION certificates.pools_changed();
CREATE OR REPLACE TRIGGER inserted AFTER INSERT OR DELETE ON certificates.pools
    FOR EACH STATEMENT EXECUTE FUNCTION certificates.pools_changed();

CREATE OR REPLACE FUNCTION certificates.emit(key uuid, type text, channel text, status text, payload jsonb DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_emit_sql';
COMMENT ON FUNCTION certificates.emit(uuid, text, text, text, jsonb, uuid) IS
'Emits to GiftCertificates.Stream in its envelope. key: the id of the certificate or pool; channel NULL: no channel caused it; payload: an object; organization NULL: the principal''s. Returns the event''s id. Permission: the extension''s own functions. Errors: 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.emit(uuid, text, text, text, jsonb, uuid) TO backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION certificates.create_pool(code text, currency text, face_value bigint, validity interval DEFAULT '1 year', low_water bigint DEFAULT 0,
        hold interval DEFAULT '30 minutes', requires_activation boolean DEFAULT false, destroy_cvc_after_delivery boolean DEFAULT false,
        cvc_digits int DEFAULT 4, code_format text DEFAULT 'any') RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_create_pool';
COMMENT ON FUNCTION certificates.create_pool(text, text, bigint, interval, bigint, interval, boolean, boolean, int, text) IS
'Makes an empty pool of gift certificates. code: its name within the organization; currency: ISO 4217; face_value: minor units; validity: from issue on; low_water: pool.low is emitted when so few are left; hold: how long a reservation lasts unless the caller says; requires_activation: issued certificates are activated separately; destroy_cvc_after_delivery: the encrypted CVC goes when it was delivered; cvc_digits: of generated CVCs, 3 to 6; code_format of imported codes: any, or checked (last symbol is a check symbol). Returns the pool''s id. Permission: certificates.manage_pools. Errors: PT422 invalid_pool, PT409 pool_exists.';
GRANT EXECUTE ON FUNCTION certificates.create_pool(text, text, bigint, interval, bigint, interval, boolean, boolean, int, text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.pause_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_pause_pool';
COMMENT ON FUNCTION certificates.pause_pool(text) IS
'Stops reservations from a pool; those made before stay. pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found, PT409 pool_state (it is closed).';
GRANT EXECUTE ON FUNCTION certificates.pause_pool(text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.resume_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_resume_pool';
COMMENT ON FUNCTION certificates.resume_pool(text) IS
'Opens a paused pool again, in the state it was paused in; what happened to its stock meanwhile is told then (pool.low, pool.empty, pool.replenished). pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found, PT409 pool_state (it is closed).';
GRANT EXECUTE ON FUNCTION certificates.resume_pool(text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.close_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_close_pool';
COMMENT ON FUNCTION certificates.close_pool(text) IS
'Closes a pool for good: no reservations and no imports any more. pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found.';
GRANT EXECUTE ON FUNCTION certificates.close_pool(text) TO backoffice_service, backoffice_admin, backoffice_definer;

-- VOLATILE, so that it sees what the same statement did before.
CREATE OR REPLACE FUNCTION certificates.describe_pool(pool text) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('id', p.id, 'code', p.code, 'state', p.state, 'currency', p.currency, 'face_value_minor', p.face_value_minor,
               'low_water', p.low_water, 'created_at', backoffice.time_text(p.created_at))
    FROM certificates.pools p
    WHERE p.organization_id = backoffice.current_organization() AND (p.code = $1 OR p.id::text = lower($1))
$$;
COMMENT ON FUNCTION certificates.describe_pool(text) IS 'A pool as HTTP tells it; NULL: there is none. pool: code or id. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.describe_pool(text) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.reserve_next(pool text, channel text, order_ref text DEFAULT NULL, idempotency_key text DEFAULT NULL,
        hold interval DEFAULT NULL) RETURNS certificates.reservation
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_reserve_next';
COMMENT ON FUNCTION certificates.reserve_next(text, text, text, text, interval) IS
'Reserves the next certificate of a pool. pool: code or id; channel: who sells it, e.g. internet_store or pos; order_ref: the order it is for; idempotency_key: the same key with the same arguments answers the same certificate again; hold: how long (NULL: the pool''s). Answers status reserved, or status empty without an error (issue.blocked is emitted). The code is not shown. Never waits for other reservations, and sees the newest rows at every isolation level. Permission: certificates.reserve. Errors: PT404 pool_not_found, PT409 pool_paused, pool_closed, idempotency_conflict, PT422 invalid_hold, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.reserve_next(text, text, text, text, interval) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.import_codes(pool text, codes text[], cvcs text[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_import_codes';
COMMENT ON FUNCTION certificates.import_codes(text, text[], text[]) IS
'Puts codes made elsewhere into a pool: all or none. pool: code or id; codes: 4 to 64 letters and digits each (case, spaces, "-", "_" and "." do not count; O is read as 0, I and L as 1); cvcs: 3 to 8 digits each, NULL: random ones are made. Give codes as parameters, never as literals: a failed statement''s text goes to the server''s log. Returns how many. Permission: certificates.import. Errors: PT422 invalid_codes (names the first 20 rows: malformed, repeated or existing), PT409 pool_closed, PT413 too_many_codes, PT404 pool_not_found, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.import_codes(text, text[], text[]) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.generate_codes(pool text, count int) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_generate_codes';
COMMENT ON FUNCTION certificates.generate_codes(text, int) IS
'Makes codes for a pool: 20 symbols of base 32 in groups of five, 95 bits of them random, the last a check symbol; and random CVCs of the pool''s number of digits. pool: code or id. Returns how many. Permission: certificates.import. Errors: PT409 pool_closed, PT413 too_many_codes, PT404 pool_not_found, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.generate_codes(text, int) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.import_row() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_import_row';
COMMENT ON FUNCTION certificates.import_row() IS
'Row trigger of the view certificates.import: keeps the row in memory. Permission: none, it is a trigger; INSERT on the view is granted to backoffice_service and backoffice_admin.';
CREATE OR REPLACE FUNCTION certificates.import_end() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_import_end';
COMMENT ON FUNCTION certificates.import_end() IS
'Statement trigger of the view certificates.import: imports the rows that were kept. Permission: certificates.import. Errors: as import_codes.';

CREATE OR REPLACE VIEW certificates.import (pool, code, cvc) WITH (security_invoker = true) AS SELECT NULL::text, NULL::text, NULL::text WHERE false;
COMMENT ON VIEW certificates.import IS
'COPY certificates.import (pool, code, cvc) FROM STDIN imports codes as import_codes() does, all or none, into at most 100 pools; rows are numbered as they come. Nothing is ever stored here. Permission: certificates.import. Errors: as import_codes(), PT413 too_many_pools.';
GRANT INSERT ON certificates.import TO backoffice_service, backoffice_admin;
CREATE OR REPLACE TRIGGER import_row INSTEAD OF INSERT ON certificates.import FOR EACH ROW EXECUTE FUNCTION certificates.import_row();
CREATE OR REPLACE TRIGGER import_end AFTER INSERT ON certificates.import FOR EACH STATEMENT EXECUTE FUNCTION certificates.import_end();

CREATE OR REPLACE FUNCTION certificates.release(id uuid, reason text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_release_sql';
COMMENT ON FUNCTION certificates.release(uuid, text) IS
'Gives a reservation back: available again (certificate.released), or voided if its code was shown (certificate.voided). Once more changes nothing. reason: at most 500 bytes, goes into the event. Returns the state. Permission: certificates.release. Errors: PT404 certificate_not_found, PT409 not_reserved.';
GRANT EXECUTE ON FUNCTION certificates.release(uuid, text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.disclose_code(id uuid) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_disclose_code';
COMMENT ON FUNCTION certificates.disclose_code(uuid) IS
'Shows the code of a certificate that is reserved or sold, e.g. to print it, and emits audit.code_disclosed. A certificate whose code was shown never returns to its pool. Permission: certificates.disclose_code. Errors: PT404 certificate_not_found, PT409 not_reserved; F0000 key_file_missing, key_unknown.';
GRANT EXECUTE ON FUNCTION certificates.disclose_code(uuid) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.request_notification(id uuid) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_request_notification_sql';
COMMENT ON FUNCTION certificates.request_notification(uuid) IS
'Emits notification.requested for a certificate that was sold: the CRM may then call reveal_cvc() and send the CVC to the client. Permission: certificates.notify. Errors: PT404 certificate_not_found, PT409 not_issued.';
GRANT EXECUTE ON FUNCTION certificates.request_notification(uuid) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.reveal_cvc(id uuid) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_reveal_cvc';
COMMENT ON FUNCTION certificates.reveal_cvc(uuid) IS
'The CVC of a certificate for which notification.requested was emitted; emits audit.cvc_revealed. Where the pool says so, the stored CVC is destroyed by this. Permission: certificates.reveal_cvc. Errors: PT404 certificate_not_found, PT409 notification_not_requested, PT410 cvc_destroyed; F0000 key_file_missing, key_unknown.';
GRANT EXECUTE ON FUNCTION certificates.reveal_cvc(uuid) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.verify_cvc(code text, cvc text) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_verify_cvc';
COMMENT ON FUNCTION certificates.verify_cvc(text, text) IS
'Is this the CVC of a sold certificate with this code? False, in the same time, for an unknown code and a wrong CVC. Failures are counted per code, per principal and per database; no rollback undoes that. Permission: certificates.verify_cvc. Errors: PT429 throttled (says after how many seconds to try again).';
GRANT EXECUTE ON FUNCTION certificates.verify_cvc(text, text) TO backoffice_service, backoffice_admin;

CREATE OR REPLACE FUNCTION certificates.find_by_code(code text, cvc text) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_find_by_code';
COMMENT ON FUNCTION certificates.find_by_code(text, text) IS
'The id of the sold certificate with this code and CVC, NULL as verify_cvc() says false. Permission: certificates.verify_cvc. Errors: PT429 throttled.';
GRANT EXECUTE ON FUNCTION certificates.find_by_code(text, text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.sweep() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_sweep';
COMMENT ON FUNCTION certificates.sweep() IS
'What the keeper does every second, for all pools of all organizations now: returns reservations whose hold is over, and certificates that the cursor has passed. Returns how many. Permission: backoffice_admin.';
GRANT EXECUTE ON FUNCTION certificates.sweep() TO backoffice_admin, backoffice_kernel;

CREATE OR REPLACE VIEW certificates.pool_status WITH (security_invoker = true) AS
SELECT p.id, p.code AS pool, p.state, p.currency, p.face_value_minor, p.low_water, n.created,
       count(*) FILTER (WHERE c.state = 'available') AS available,
       count(*) FILTER (WHERE c.state = 'reserved') AS reserved,
       count(*) FILTER (WHERE c.state IN ('issued', 'active', 'partially_redeemed', 'blocked')) AS issued,
       count(*) FILTER (WHERE c.state IN ('redeemed', 'expired', 'refunded', 'voided', 'replaced', 'retired')) AS terminal,
       coalesce(sum(c.balance_minor) FILTER (WHERE c.state IN ('issued', 'active', 'partially_redeemed', 'blocked')), 0) AS outstanding_minor
FROM (SELECT backoffice.current_organization() AS organization_id WHERE access.can('certificates.read')
      UNION ALL
      SELECT DISTINCT q.organization_id FROM certificates.pools q
      WHERE backoffice.current_organization() IS NULL AND NOT pg_catalog.row_security_active('certificates.pools'::regclass)) o
JOIN certificates.pools p ON p.organization_id = o.organization_id
JOIN certificates.pool_slots n ON n.organization_id = p.organization_id AND n.pool_id = p.id
LEFT JOIN certificates.certificates c ON c.organization_id = p.organization_id AND c.pool_id = p.id
GROUP BY p.organization_id, p.id, n.created;
COMMENT ON VIEW certificates.pool_status IS
'The pools of the organization and what is in them. issued: sold and of use (issued, active, partially redeemed, blocked); terminal: used up, expired, refunded, voided, replaced or retired; outstanding_minor: what the issued ones are worth (numeric: a sum may be beyond bigint). Permission: certificates.read (without it, no rows); a superuser without a principal sees the pools of all organizations.';
GRANT SELECT ON certificates.pool_status TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE OR REPLACE VIEW certificates.conservation WITH (security_invoker = true) AS
SELECT s.id, s.pool, s.created, s.available, s.reserved AS held, s.issued, s.terminal,
       s.created - s.available - s.reserved - s.issued - s.terminal AS difference
FROM certificates.pool_status s;
COMMENT ON VIEW certificates.conservation IS
'Per pool: certificates ever created, less those available, held, issued and terminal. difference is 0, always; created is counted on its own when codes come in. Permission: as of certificates.pool_status.';
GRANT SELECT ON certificates.conservation TO backoffice_service, backoffice_admin;

CREATE OR REPLACE FUNCTION certificates.rotate_keys(batch int DEFAULT 10000) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_rotate_keys';
COMMENT ON FUNCTION certificates.rotate_keys(int) IS
'Makes stored codes and CVCs of all organizations anew with the current key (the last in the key file), up to batch certificates; those that are locked are left for the next call. Returns how many: call it until that is 0. Permission: backoffice_admin. Errors: 22023 invalid_argument; F0000 key_unknown, key_file_missing.';
GRANT EXECUTE ON FUNCTION certificates.rotate_keys(int) TO backoffice_admin;

CREATE OR REPLACE FUNCTION certificates.key_usage() RETURNS TABLE (key_id text, codes bigint, cvcs bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, sum(k.code)::bigint, sum(k.cvc)::bigint
    FROM certificates.certificates c,
         LATERAL (VALUES (convert_from(substr(c.code_secret, 2, get_byte(c.code_secret, 0)), 'UTF8'), 1, 0),
                         (convert_from(substr(c.cvc_hash, 2, get_byte(c.cvc_hash, 0)), 'UTF8'), 0, 1)) k (key_id, code, cvc)
    WHERE k.key_id IS NOT NULL
    GROUP BY k.key_id
$$;
ALTER FUNCTION certificates.key_usage() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION certificates.key_usage() IS
'How many codes and CVCs of all organizations need which key of the key file: a key that is not listed may go. Permission: backoffice_admin.';
GRANT EXECUTE ON FUNCTION certificates.key_usage() TO backoffice_admin;
