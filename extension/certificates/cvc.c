/*
 * cvc.c
 *		Codes and CVCs shown and checked.
 *
 * An unknown code and a wrong CVC are one answer, after the same work: a hash
 * of the code per key loaded, a look-up for each, and one hash of the CVC,
 * against a made-up one where there is no certificate.
 */
#include "core/core.h"

#include "access/access.h"
#include "catalog/pg_type_d.h"
#include "certificates/certificates.h"
#include "certificates/codes.h"
#include "certificates/pools.h"
#include "certificates/stream.h"
#include "certificates/throttle.h"
#include "common/hashfn.h"
#include "core/principal.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_verify_cvc);
PG_FUNCTION_INFO_V1(certificates_find_by_code);
PG_FUNCTION_INFO_V1(certificates_reveal_cvc);
PG_FUNCTION_INFO_V1(certificates_disclose_code);
PG_FUNCTION_INFO_V1(certificates_request_notification_sql);

#define IN_USE "state IN ('issued', 'active', 'partially_redeemed', 'redeemed', 'blocked', 'expired')"

static BoPlan by_code_plan = {
	"SELECT id, cvc_hash, " IN_USE " FROM certificates.certificates WHERE organization_id = $1 AND code_index = $2",
	2, {UUIDOID, BYTEAOID}
};

static BoPlan lock_plan = {
	"SELECT state, channel, order_ref, client_ref, pool_id, code_secret, cvc_secret, notification_requested_at IS NOT NULL, " IN_USE " "
	"FROM certificates.certificates WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE",
	2, {UUIDOID, UUIDOID}
};

static BoPlan disclosed_plan = {
	"UPDATE certificates.certificates SET disclosed_at = coalesce(disclosed_at, $3) WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

static BoPlan delivered_plan = {
	"UPDATE certificates.certificates SET cvc_delivered_at = coalesce(cvc_delivered_at, $3), "
	"    cvc_secret = CASE WHEN $4 THEN NULL ELSE cvc_secret END WHERE organization_id = $1 AND id = $2",
	4, {UUIDOID, UUIDOID, TIMESTAMPTZOID, BOOLOID}
};

static BoPlan requested_plan = {
	"UPDATE certificates.certificates SET notification_requested_at = $3 WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

/* ---- a certificate, locked ---- */

typedef struct Locked
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
	char	   *state;
	char	   *channel;
	char	   *order_ref;
	char	   *client_ref;
	pg_uuid_t	pool_id;
	bytea	   *code_secret;
	bytea	   *cvc_secret;		/* NULL: destroyed */
	bool		notification_requested;
	bool		in_use;			/* issued or later, and not taken back */
} Locked;

static bytea *
bytes_of(int column)
{
	bool		isnull;
	Datum		value = bo_spi_datum(0, column, &isnull);

	return isnull ? NULL : DatumGetByteaPCopy(value);
}

/* Within SPI.  Error certificate_not_found. */
static Locked
lock_certificate(const pg_uuid_t *organization, const pg_uuid_t *id)
{
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};
	Locked		locked = {*organization, *id};

	if (bo_spi_run(&lock_plan, args, NULL, 1) == 0)
		certificate_not_found(id);
	locked.state = bo_spi_text(0, 1);
	locked.channel = bo_spi_text(0, 2);
	locked.order_ref = bo_spi_text(0, 3);
	locked.client_ref = bo_spi_text(0, 4);
	locked.pool_id = bo_spi_uuid(0, 5);
	locked.code_secret = bytes_of(6);
	locked.cvc_secret = bytes_of(7);
	locked.notification_requested = bo_spi_bool(0, 8);
	locked.in_use = bo_spi_bool(0, 9);
	return locked;
}

static void
mark(BoPlan *plan, const Locked *locked, bool flag)
{
	Datum		args[4] = {UUIDPGetDatum(&locked->organization_id), UUIDPGetDatum(&locked->id),
	TimestampTzGetDatum(bo_now()), BoolGetDatum(flag)};

	bo_spi_run(plan, args, NULL, 0);
}

static void
emit_about(const Locked *locked, const char *type, const char *status, bool audit)
{
	const Principal *principal = principal_get();
	const Pool *pool = pool_by_id(&locked->organization_id, &locked->pool_id);
	StreamEvent event;

	stream_begin(&event, type, locked->channel, status);
	stream_uuid(&event, "certificateId", &locked->id);
	stream_text(&event, "pool", pool ? pool->code : NULL);
	stream_text(&event, "orderRef", locked->order_ref);
	stream_text(&event, "clientRef", locked->client_ref);
	if (audit && principal != NULL && principal->has_user)
		stream_uuid(&event, "userId", &principal->user_id);
	stream_emit(&event, &locked->id, &locked->organization_id);
}

static text *
clear_text(const Locked *locked, const char *purpose, const bytea *secret, MemoryContext context)
{
	SecretOwner owner = {locked->organization_id, locked->id};
	Size		length;
	char	   *clear = keys_decrypt(purpose, &owner, secret, &length);
	MemoryContext caller = MemoryContextSwitchTo(context);
	text	   *result = cstring_to_text_with_len(clear, length);

	MemoryContextSwitchTo(caller);
	keys_wipe(clear, length);
	return result;
}

/* ---- showing ---- */

/* reveal_cvc(id uuid) */
Datum
certificates_reveal_cvc(PG_FUNCTION_ARGS)
{
	pg_uuid_t	organization = principal_require()->organization_id;
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	MemoryContext caller = CurrentMemoryContext;
	const Pool *pool;
	Locked		locked;
	text	   *cvc;
	BoUser		user;

	access_require("certificates.reveal_cvc");
	user = bo_user_definer();
	bo_spi_begin();
	locked = lock_certificate(&organization, id);
	if (!locked.notification_requested)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("no notification was requested for certificate %s", bo_uuid_text(id)),
				 bo_code("notification_not_requested", "a CVC is shown only to deliver it"),
				 errhint("certificates.request_notification() asks for it, after the certificate was issued.")));
	if (locked.cvc_secret == NULL)
		ereport(ERROR,
				(errcode(BO_GONE),
				 errmsg("the CVC of certificate %s cannot be shown any more", bo_uuid_text(id)),
				 bo_code("cvc_destroyed", "it was delivered, and its pool keeps no copy"),
				 errhint("A client who has lost it gets another certificate in place of this one.")));
	pool = pool_by_id(&organization, &locked.pool_id);
	cvc = clear_text(&locked, PURPOSE_CVC, locked.cvc_secret, caller);
	mark(&delivered_plan, &locked, pool != NULL && pool->destroy_cvc_after_delivery);
	emit_about(&locked, "audit.cvc_revealed", "revealed", true);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_TEXT_P(cvc);
}

/* disclose_code(id uuid) */
Datum
certificates_disclose_code(PG_FUNCTION_ARGS)
{
	pg_uuid_t	organization = principal_require()->organization_id;
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	MemoryContext caller = CurrentMemoryContext;
	Locked		locked;
	text	   *code;
	BoUser		user;

	access_require("certificates.disclose_code");
	user = bo_user_definer();
	bo_spi_begin();
	locked = lock_certificate(&organization, id);
	if (strcmp(locked.state, "reserved") != 0 && !locked.in_use)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("certificate %s is not reserved", bo_uuid_text(id)),
				 bo_code("not_reserved", "it is %s", locked.state),
				 errhint("A code is shown of a certificate that was reserved or sold.")));
	code = clear_text(&locked, PURPOSE_CODE, locked.code_secret, caller);
	mark(&disclosed_plan, &locked, false);
	emit_about(&locked, "audit.code_disclosed", "disclosed", true);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_TEXT_P(code);
}

/* From then on the CRM may ask for the CVC.  Runs as the kernel: the caller has checked permission. */
static void
request_notification(const pg_uuid_t *organization, const pg_uuid_t *id)
{
	Locked		locked;
	BoUser		user = bo_user_kernel();

	bo_spi_begin();
	locked = lock_certificate(organization, id);
	if (!locked.in_use)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("certificate %s is not issued", bo_uuid_text(id)),
				 bo_code("not_issued", "it is %s", locked.state),
				 errhint("Clients are notified of certificates that they bought.")));
	mark(&requested_plan, &locked, false);
	emit_about(&locked, "notification.requested", "requested", false);
	bo_spi_end();
	bo_user_restore(user);
}

/* request_notification(id uuid) */
Datum
certificates_request_notification_sql(PG_FUNCTION_ARGS)
{
	pg_uuid_t	organization = principal_require()->organization_id;

	access_require("certificates.notify");
	request_notification(&organization, certificates_arg_id(fcinfo, 0));
	PG_RETURN_VOID();
}

/* ---- checking ---- */

/* Looks a normalised code up under every key; *hash is palloc'd, NULL: unknown, or not in use. */
static void
look_up(const pg_uuid_t *organization, const char *normal, int length, pg_uuid_t *id, bytea **hash)
{
	MemoryContext caller = CurrentMemoryContext;
	BoUser		user = bo_user_definer();

	*hash = NULL;
	bo_spi_begin();
	for (int key = 0; key < keys_count(); key++)
	{
		Datum		args[2] = {UUIDPGetDatum(organization), PointerGetDatum(code_index(key, organization, normal, length))};

		if (bo_spi_run(&by_code_plan, args, NULL, 1) > 0 && bo_spi_bool(0, 3) && !bo_spi_isnull(0, 2))
		{
			MemoryContext spi = MemoryContextSwitchTo(caller);

			*id = bo_spi_uuid(0, 1);
			*hash = bytes_of(2);
			MemoryContextSwitchTo(spi);
		}
	}
	bo_spi_end();
	bo_user_restore(user);
}

/* What is no code at all is counted as it was written, so that slips of many people are not one code's. */
static Guess
guess_of(const Principal *principal, const char *written, const char *normal, int length)
{
	bytea	   *index = length > 0 ? code_index(0, &principal->organization_id, normal, length)
		: code_index(0, &principal->organization_id, written, strlen(written));
	Guess		guess;

	/* The hash is keyed: nobody can aim at another code's counter. */
	memcpy(&guess.code, VARDATA(index) + VARSIZE(index) - VARHDRSZ - sizeof(uint64), sizeof(uint64));
	guess.principal = hash_bytes_extended((const unsigned char *) principal,
										  offsetof(Principal, user_id) + (principal->has_user ? sizeof(pg_uuid_t) : 0), 0);
	return guess;
}

/*
 * The certificate with this code and CVC: false when there is none, in the
 * same time whatever is wrong.  Counts failures; error throttled (PT429).
 */
static bool
check_code(const char *code, const char *cvc, pg_uuid_t *id)
{
	const Principal *principal = principal_require();
	SecretOwner owner = {principal->organization_id};
	char		normal[CODE_MAX + 1] = "";
	int			length = code_normalise(code, strlen(code), normal);
	Guess		guess = guess_of(principal, code, normal, length);
	bytea	   *hash;
	bytea	   *made_up;
	bool		known,
				matches;

	throttle_enter(&guess);
	memset(&owner.id, 0, sizeof(owner.id));
	made_up = keys_hash(0, PURPOSE_CVC, &owner, "no CVC looks like this", 22);
	look_up(&principal->organization_id, normal, length, &owner.id, &hash);
	known = hash != NULL;
	if (!known)
		hash = made_up;
	matches = keys_hash_matches(hash, PURPOSE_CVC, &owner, cvc, strlen(cvc));
	explicit_bzero(normal, sizeof(normal));
	if (!known || !matches)
		return false;
	throttle_forgive(&guess);
	*id = owner.id;
	return true;
}

/* Too long, empty or missing is as wrong as any other. */
static bool
check_arguments(FunctionCallInfo fcinfo, pg_uuid_t *id)
{
	char	   *code = bo_arg_text(fcinfo, 0);
	char	   *cvc = bo_arg_text(fcinfo, 1);
	bool		valid = check_code(code ? code : "", cvc ? cvc : "", id);

	keys_wipe(code, code ? strlen(code) : 0);
	keys_wipe(cvc, cvc ? strlen(cvc) : 0);
	return valid;
}

/* verify_cvc(code text, cvc text) */
Datum
certificates_verify_cvc(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;

	access_require("certificates.verify_cvc");
	PG_RETURN_BOOL(check_arguments(fcinfo, &id));
}

/* find_by_code(code text, cvc text) */
Datum
certificates_find_by_code(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	access_require("certificates.verify_cvc");
	if (!check_arguments(fcinfo, id))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}
