-- certificates: their life, and the money taken from them.

CREATE OR REPLACE FUNCTION certificates.issue(id uuid, order_ref text DEFAULT NULL, client_ref text DEFAULT NULL, idempotency_key text DEFAULT NULL)
    RETURNS certificates.issued LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_issue';
COMMENT ON FUNCTION certificates.issue(uuid, text, text, text) IS
'Sells a reserved certificate: its validity begins and its code is shown, so that it never returns to the pool. order_ref, client_ref: whose it is (at most 200 bytes; NULL keeps what the reservation said). The same key again answers the same, reading the code anew. Permission: certificates.issue. Errors: certificate_not_found, illegal_transition, idempotency_conflict, invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.issue(uuid, text, text, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.activate(id uuid)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_activate';
COMMENT ON FUNCTION certificates.activate(uuid) IS
'Makes an issued certificate redeemable where its pool asks for that; nothing happens when it is active. Returns ''active''. Permission: certificates.issue. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.activate(uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.authorize(id uuid, amount bigint, idempotency_key text DEFAULT NULL, ttl interval DEFAULT '30 minutes',
                                                  channel text DEFAULT NULL, order_ref text DEFAULT NULL)
    RETURNS uuid LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_authorize';
COMMENT ON FUNCTION certificates.authorize(uuid, bigint, text, interval, text, text) IS
'Holds money on a certificate: it counts against the available balance at once, until captured, released, or ttl is over (at most 366 days). amount: minor units. Several holds may be open. Returns the redemption''s id. Permission: certificates.redeem. Errors: invalid_amount, invalid_ttl, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.authorize(uuid, bigint, text, interval, text, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.capture(redemption uuid, amount bigint DEFAULT NULL, idempotency_key text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_capture';
COMMENT ON FUNCTION certificates.capture(uuid, bigint, text) IS
'Takes money that is held: all of it, or amount (minor units; the rest is free again). Once per hold. Permission: certificates.redeem. Errors: redemption_not_found, invalid_amount, hold_exceeded, hold_expired, already_captured, already_released, certificate_blocked, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.capture(uuid, bigint, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.release_hold(redemption uuid)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_release_hold';
COMMENT ON FUNCTION certificates.release_hold(uuid) IS
'Gives a hold up. Permission: certificates.redeem. Errors: redemption_not_found, hold_expired, already_captured, already_released.';
GRANT EXECUTE ON FUNCTION certificates.release_hold(uuid) TO backoffice_service, backoffice_definer;

-- VOLATILE, so that it sees what the same statement did before.
CREATE OR REPLACE FUNCTION certificates.describe_redemption(id uuid) RETURNS jsonb
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('id', r.id, 'certificate_id', r.certificate_id, 'state', r.state, 'amount_minor', r.amount_minor,
               'captured_minor', r.captured_minor, 'refunded_minor', r.refunded_minor, 'currency', p.currency, 'channel', r.channel,
               'order_ref', r.order_ref, 'available_minor', c.balance_minor - c.held_minor, 'created_at', backoffice.time_text(r.created_at),
               'hold_until', backoffice.time_text(r.hold_until), 'captured_at', backoffice.time_text(r.captured_at))
    FROM certificates.redemptions r
    JOIN certificates.certificates c ON c.organization_id = r.organization_id AND c.id = r.certificate_id
    JOIN certificates.pools p ON p.organization_id = c.organization_id AND p.id = c.pool_id
    WHERE r.organization_id = backoffice.current_organization() AND r.id = $1
$$;
COMMENT ON FUNCTION certificates.describe_redemption(uuid) IS 'A hold or redemption as HTTP tells it; NULL: there is none. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.describe_redemption(uuid) TO backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.redeem(id uuid, amount bigint, idempotency_key text DEFAULT NULL, channel text DEFAULT NULL, order_ref text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_redeem';
COMMENT ON FUNCTION certificates.redeem(uuid, bigint, text, text, text) IS
'Takes money from a certificate in one step. amount: minor units. Permission: certificates.redeem. Errors: invalid_amount, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.redeem(uuid, bigint, text, text, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.refund(id uuid, amount bigint, idempotency_key text DEFAULT NULL, redemption uuid DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_refund';
COMMENT ON FUNCTION certificates.refund(uuid, bigint, text, uuid, text) IS
'Gives redeemed money back to the certificate, never more than was taken (from this redemption, or from all). amount: minor units. An expired certificate stays expired, a blocked one blocked; a redeemed one whose validity is over expires. Permission: certificates.refund. Errors: invalid_amount, certificate_not_found, not_refundable, refund_exceeds_redeemed, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.refund(uuid, bigint, text, uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.block(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_block';
COMMENT ON FUNCTION certificates.block(uuid, text) IS
'Stops a certificate: nothing is taken from it, open holds can''t be captured. Returns the state it will return to; nothing happens when it is blocked. reason: at most 500 bytes, told in the event. Permission: certificates.block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.block(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.unblock(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_unblock';
COMMENT ON FUNCTION certificates.unblock(uuid, text) IS
'Returns a blocked certificate to the state before, or lets it expire if its validity ended meanwhile. Returns the state it is in now. Permission: certificates.block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.unblock(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.extend(id uuid, valid_until timestamptz)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_extend';
COMMENT ON FUNCTION certificates.extend(uuid, timestamptz) IS
'Sets a new end of validity, still to come; an expired certificate is usable again (issued, if it was never activated and its pool asks for that). Returns the state it is in now. Permission: certificates.extend. Errors: invalid_valid_until, certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.extend(uuid, timestamptz) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.refund_purchase(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_refund_purchase';
COMMENT ON FUNCTION certificates.refund_purchase(uuid, text) IS
'Ends a certificate whose buyer gets the money back: only while its full value is there and nothing is held. Returns ''refunded''. Permission: certificates.refund. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION certificates.refund_purchase(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.void_purchase(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_void_purchase';
COMMENT ON FUNCTION certificates.void_purchase(uuid, text) IS
'Ends a certificate whose purchase was cancelled: only while its full value is there and nothing is held. Returns ''voided''. Permission: certificates.refund. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION certificates.void_purchase(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION certificates.replace(id uuid, reason text DEFAULT NULL)
    RETURNS uuid LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_replace';
COMMENT ON FUNCTION certificates.replace(uuid, text) IS
'Gives a certificate''s money and validity to a new one of the same pool, and ends it. Returns the successor, issued; certificates.disclose_code() shows its code when it is handed out. NULL: the pool is empty, the certificate stays as it was, and issue.blocked is told. Permission: certificates.replace. Errors: certificate_not_found, illegal_transition, open_holds, pool_paused, pool_closed.';
GRANT EXECUTE ON FUNCTION certificates.replace(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE VIEW certificates.discrepancies WITH (security_invoker = true) AS
SELECT c.id, c.state, c.face_value_minor, c.balance_minor, c.held_minor, r.captured_minor, r.refunded_minor, r.open_minor
FROM certificates.certificates c
CROSS JOIN LATERAL (
    SELECT coalesce(sum(x.captured_minor), 0) AS captured_minor, coalesce(sum(x.refunded_minor), 0) AS refunded_minor,
           coalesce(sum(x.amount_minor) FILTER (WHERE x.state = 'authorized'), 0) AS open_minor
    FROM certificates.redemptions x
    WHERE x.organization_id = c.organization_id AND x.certificate_id = c.id) r
WHERE c.organization_id = (SELECT backoffice.current_organization())
  AND (c.held_minor <> r.open_minor
       OR c.state NOT IN ('refunded', 'voided', 'replaced') AND c.face_value_minor - c.balance_minor <> r.captured_minor - r.refunded_minor
          AND NOT EXISTS (SELECT FROM certificates.certificates o WHERE o.organization_id = c.organization_id AND o.replaced_by = c.id));
COMMENT ON VIEW certificates.discrepancies IS
'Certificates whose balance or holds do not follow from their redemptions (successors'' balances come from those they replace): must always be empty. Reads every certificate of the organization.';
GRANT SELECT ON certificates.discrepancies TO backoffice_service, backoffice_admin;
