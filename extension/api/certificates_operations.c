/*
 * certificates_operations.c
 *		Certificates and their pools.
 */
#include "api/api.h"

#define POOL_COLUMNS \
	"'id', p.id, 'code', p.code, 'state', p.state, 'currency', p.currency, 'face_value_minor', p.face_value_minor," \
	" 'low_water', p.low_water, 'created_at', backoffice.time_text(p.created_at)"

/* What a function before it in the statement changed is seen here: certificates.describe_pool() is VOLATILE. */
#define CHANGED_POOL(call) "SELECT certificates.describe_pool($1) FROM certificates." call

#define CERTIFICATE_MISSING {"certificate_not_found", "the certificate does not exist"}

ApiOperation api_certificates[] = {
	/* Made by GET /certificates/next it has no Location: the answer is the resource. */
	{"reserve_next_certificate", "certificates.reserve", 0, {
		"SELECT CASE r.status WHEN 'reserved'"
		"         THEN jsonb_build_object('id', r.id, 'state', r.status, 'pool', r.pool, 'face_value_minor', r.face_value_minor,"
		"                'currency', r.currency, 'hold_until', backoffice.time_text(r.hold_until))"
		"         ELSE jsonb_build_object('code', 'pool_empty', 'message', format('pool \"%s\" has no certificate to give', r.pool),"
		"                'details', 'pool_empty: issue.blocked was told to GiftCertificates.Stream',"
		"                'hint', 'Try again when codes were imported or reservations released.') END,"
		"       CASE WHEN r.status <> 'reserved' THEN 409 WHEN current_setting('request.method', true) = 'GET' THEN 200 ELSE 201 END,"
		"       CASE WHEN r.status = 'reserved' AND current_setting('request.method', true) IS DISTINCT FROM 'GET'"
		"         THEN jsonb_build_array(jsonb_build_object('Location', '/certificates/' || r.id)) END"
		" FROM certificates.reserve_next($1, $2, $3, NULL, make_interval(secs => $4)) r"
	}},
	{"certificate", "certificates.read", 0, {
		"SELECT jsonb_build_object('id', c.id, 'pool', p.code, 'state', c.state, 'currency', p.currency,"
		"         'face_value_minor', c.face_value_minor, 'balance_minor', c.balance_minor, 'held_minor', c.held_minor,"
		"         'available_minor', c.balance_minor - c.held_minor, 'code_last4', c.code_last4, 'channel', c.channel,"
		"         'order_ref', c.order_ref, 'client_ref', c.client_ref, 'version', c.version,"
		"         'created_at', backoffice.time_text(c.created_at), 'hold_until', backoffice.time_text(c.hold_until),"
		"         'issued_at', backoffice.time_text(c.issued_at), 'activated_at', backoffice.time_text(c.activated_at),"
		"         'valid_until', backoffice.time_text(c.valid_until), 'replaced_by', c.replaced_by)"
		" FROM certificates.certificates c"
		" JOIN certificates.pools p ON p.organization_id = c.organization_id AND p.id = c.pool_id"
		" WHERE c.organization_id = backoffice.current_organization() AND c.id = $1"
	}, CERTIFICATE_MISSING},
	{"certificate_cvc", "certificates.reveal_cvc", API_NO_KEY, {
		"SELECT jsonb_build_object('id', $1, 'cvc', certificates.reveal_cvc($1))"
	}},
	{"notify_certificate", "certificates.notify", 0, {
		"SELECT jsonb_build_object('id', $1, 'status', 'requested') FROM certificates.request_notification($1)"
	}},
	{"release_certificate", "certificates.release", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.release($1, $2))"
	}},
	{"issue_certificate", "certificates.issue", API_SECRET, {
		"SELECT jsonb_build_object('id', i.id, 'state', i.state, 'code', i.code, 'face_value_minor', i.face_value_minor,"
		"         'balance_minor', i.balance_minor, 'currency', i.currency, 'valid_until', backoffice.time_text(i.valid_until))"
		" FROM certificates.issue($1, $2, $3) i"
	}},
	{"certificate_code", "certificates.disclose_code", API_NO_KEY, {
		"SELECT jsonb_build_object('id', $1, 'code', certificates.disclose_code($1))"
	}},
	{"activate_certificate", "certificates.issue", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.activate($1))"
	}},
	{"hold_certificate", "certificates.redeem", 0, {
		"SELECT certificates.describe_redemption(h.id), 201,"
		"       jsonb_build_array(jsonb_build_object('Location', '/redemptions/' || h.id))"
		" FROM certificates.authorize($1, $2, NULL, make_interval(secs => $3), $4, $5) AS h (id)"
	}},
	{"redemption", "certificates.read", 0, {
		"SELECT r.body FROM certificates.describe_redemption($1) AS r (body) WHERE r.body IS NOT NULL"
	}, {"redemption_not_found", "the hold or redemption does not exist"}},
	{"capture_hold", "certificates.redeem", 0, {
		"SELECT to_jsonb(m) FROM certificates.capture($1, $2) m"
	}},
	{"release_hold", "certificates.redeem", 0, {
		"SELECT to_jsonb(m) FROM certificates.release_hold($1) m"
	}},
	{"redeem_certificate", "certificates.redeem", 0, {
		"SELECT to_jsonb(m) FROM certificates.redeem($1, $2, NULL, $3, $4) m"
	}},
	{"refund_certificate", "certificates.refund", 0, {
		"SELECT to_jsonb(m) FROM certificates.refund($1, $2, NULL, $3, $4) m"
	}},
	{"block_certificate", "certificates.block", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', 'blocked', 'blocked_from', certificates.block($1, $2))"
	}},
	{"unblock_certificate", "certificates.block", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.unblock($1, $2))"
	}},
	{"extend_certificate", "certificates.extend", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.extend($1, $2), 'valid_until', backoffice.time_text($2))"
	}},
	{"replace_certificate", "certificates.replace", 0, {
		"SELECT CASE WHEN s.id IS NOT NULL THEN jsonb_build_object('id', $1, 'state', 'replaced', 'replaced_by', s.id)"
		"         ELSE jsonb_build_object('code', 'pool_empty', 'message', 'there is no certificate to replace it with',"
		"                'details', 'pool_empty: issue.blocked was told to GiftCertificates.Stream',"
		"                'hint', 'Import codes into its pool and try again.') END,"
		"       CASE WHEN s.id IS NULL THEN 409 ELSE 201 END,"
		"       CASE WHEN s.id IS NOT NULL THEN jsonb_build_array(jsonb_build_object('Location', '/certificates/' || s.id)) END"
		" FROM certificates.replace($1, $2) AS s (id)"
	}},
	{"refund_purchase", "certificates.refund", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.refund_purchase($1, $2))"
	}},
	{"void_purchase", "certificates.refund", 0, {
		"SELECT jsonb_build_object('id', $1, 'state', certificates.void_purchase($1, $2))"
	}},
	{"retry_order", "certificates.issue", 0, {
		"SELECT jsonb_build_object('order_ref', $1, 'state', certificates.retry_order($1))"
	}},
	{"check_certificate", "certificates.verify_cvc", API_NO_KEY, {
		"SELECT jsonb_build_object('valid', f.id IS NOT NULL, 'id', f.id) FROM certificates.find_by_code($1, $2) AS f (id)"
	}},
	{"pools", "certificates.read", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object(" POOL_COLUMNS ") AS item, p.code AS key FROM certificates.pools p"
				 " WHERE p.organization_id = backoffice.current_organization() AND ($1 IS NULL OR p.code > $1) ORDER BY p.code")
	}},
	{"pool", "certificates.read", 0, {
		"SELECT jsonb_build_object(" POOL_COLUMNS ", 'created', s.created, 'available', s.available, 'reserved', s.reserved,"
		"         'issued', s.issued, 'terminal', s.terminal, 'outstanding_minor', s.outstanding_minor)"
		" FROM certificates.pools p JOIN certificates.pool_status s ON s.id = p.id"
		" WHERE p.organization_id = backoffice.current_organization() AND (p.code = $1 OR p.id::text = lower($1))"
	}, {"pool_not_found", "the pool does not exist"}},
	{"create_pool", "certificates.manage_pools", 0, {
		"SELECT certificates.describe_pool(p.id::text), 201, jsonb_build_array(jsonb_build_object('Location', '/pools/' || $1))"
		" FROM certificates.create_pool($1, $2, $3, make_interval(months => $4), $5, make_interval(secs => $6), $7, $8, $9, $10) AS p (id)"
	}},
	{"pause_pool", "certificates.manage_pools", 0, {CHANGED_POOL("pause_pool($1)")}},
	{"resume_pool", "certificates.manage_pools", 0, {CHANGED_POOL("resume_pool($1)")}},
	{"close_pool", "certificates.manage_pools", 0, {CHANGED_POOL("close_pool($1)")}},
	{"generate_codes", "certificates.import", 0, {
		"SELECT jsonb_build_object('pool', $1, 'imported', certificates.generate_codes($1, $2))"
	}},
	{"import_codes", "certificates.import", API_NO_KEY, {
		"SELECT jsonb_build_object('pool', $1, 'imported', certificates.import_codes($1, $2, $3))"
	}},
	{NULL}
};
