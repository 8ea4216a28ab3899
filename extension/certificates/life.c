/*
 * life.c
 *		A certificate's life after its reservation: issue, activation, block,
 *		extension, and the end of a purchase.
 */
#include "certificates/life.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "certificates/certificates.h"
#include "certificates/codes.h"
#include "certificates/redemptions.h"
#include "certificates/stream.h"
#include "core/keys.h"
#include "core/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define ISSUED_COLUMNS 7

PG_FUNCTION_INFO_V1(certificates_issue);
PG_FUNCTION_INFO_V1(certificates_activate);
PG_FUNCTION_INFO_V1(certificates_block);
PG_FUNCTION_INFO_V1(certificates_unblock);
PG_FUNCTION_INFO_V1(certificates_extend);
PG_FUNCTION_INFO_V1(certificates_refund_purchase);
PG_FUNCTION_INFO_V1(certificates_void_purchase);

void
life_issue(const Certificate *certificate, const char *order_ref, const char *client_ref, bool disclose)
{
	static BoPlan issue = {
		"UPDATE certificates.certificates c SET state = 'issued', issued_at = backoffice.now(), hold_until = NULL,"
		"       valid_until = COALESCE(c.valid_until, backoffice.now() + p.validity),"
		"       order_ref = COALESCE($3, c.order_ref), client_ref = COALESCE($4, c.client_ref),"
		"       disclosed_at = CASE WHEN $5 THEN COALESCE(c.disclosed_at, backoffice.now()) ELSE c.disclosed_at END"
		"  FROM certificates.pools p"
		" WHERE c.organization_id = $1 AND c.id = $2 AND p.organization_id = $1 AND p.id = c.pool_id",
		5, {UUIDOID, UUIDOID, TEXTOID, TEXTOID, BOOLOID}
	};
	Datum		args[5];
	char		nulls[5] = {' ', ' ', order_ref ? ' ' : 'n', client_ref ? ' ' : 'n', ' '};

	args[0] = UUIDPGetDatum(&certificate->organization_id);
	args[1] = UUIDPGetDatum(&certificate->id);
	args[2] = order_ref ? CStringGetTextDatum(order_ref) : (Datum) 0;
	args[3] = client_ref ? CStringGetTextDatum(client_ref) : (Datum) 0;
	args[4] = BoolGetDatum(disclose);
	(void) bo_spi_run(&issue, args, nulls, 0);
}

/* The code in clear text, in the current context. */
static char *
read_code(const Certificate *certificate)
{
	static BoPlan read = {
		"SELECT code_secret FROM certificates.certificates WHERE organization_id = $1 AND id = $2", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[] = {UUIDPGetDatum(&certificate->organization_id), UUIDPGetDatum(&certificate->id)};
	SecretOwner owner = {certificate->organization_id, certificate->id};
	Size		length;
	bool		isnull;

	(void) bo_spi_run(&read, args, NULL, 1);
	return keys_decrypt(PURPOSE_CODE, &owner, DatumGetByteaPP(bo_spi_datum(0, 1, &isnull)), &length);
}

static Datum
issued_tuple(FunctionCallInfo fcinfo, const Certificate *certificate, const char *code)
{
	TupleDesc	desc;
	Datum		values[ISSUED_COLUMNS];
	bool		nulls[ISSUED_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = UUIDPGetDatum(&certificate->id);
	values[1] = CStringGetTextDatum(certificate->state);
	values[2] = CStringGetTextDatum(code);
	values[3] = Int64GetDatum(certificate->face_minor);
	values[4] = Int64GetDatum(certificate->balance_minor);
	values[5] = CStringGetTextDatum(certificate->currency);
	values[6] = TimestampTzGetDatum(certificate->valid_until);
	nulls[6] = certificate->valid_until == DT_NOEND;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* True: the key is new (or NULL).  The code is never stored with the key: a repetition reads it again. */
static bool
begin_issue(const char *key, const pg_uuid_t *id, const char *order_ref, const char *client_ref)
{
	IdempotencyHash *hash;
	Jsonb	   *response;

	if (key == NULL)
		return true;
	hash = idempotency_hash_begin();
	idempotency_hash_bytes(hash, id->data, UUID_LEN);
	idempotency_hash_text(hash, order_ref);
	idempotency_hash_text(hash, client_ref);
	return idempotency_begin("certificates.issue", key, hash, &response);
}

/* issue(id uuid, order_ref text, client_ref text, idempotency_key text) -> certificates.issued */
Datum
certificates_issue(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *order_ref = certificates_arg(fcinfo, 1, "order_ref", MAX_REF_BYTES, false);
	char	   *client_ref = certificates_arg(fcinfo, 2, "client_ref", MAX_REF_BYTES, false);
	char	   *key = bo_arg_text(fcinfo, 3);
	Life		life;
	Certificate certificate;
	char	   *code;
	Datum		result;

	life_begin(&life, "certificates.issue");
	if (begin_issue(key, id, order_ref, client_ref))
	{
		certificate_lock(&life.organization_id, id, &certificate);
		if (!certificate_is(&certificate, "reserved"))
			certificate_refuse(&certificate, "issued", "reserved certificates are issued");
		life_issue(&certificate, order_ref, client_ref, true);
		if (key != NULL)
			idempotency_finish("certificates.issue", key, NULL);
	}
	certificate_lock(&life.organization_id, id, &certificate);
	code = read_code(&certificate);
	MemoryContextSwitchTo(life.context);
	result = issued_tuple(fcinfo, &certificate, code);
	keys_wipe(code, strlen(code));
	life_end(&life);
	PG_RETURN_DATUM(result);
}

/* activate(id uuid) -> text */
Datum
certificates_activate(PG_FUNCTION_ARGS)
{
	static BoPlan activate = {
		"UPDATE certificates.certificates SET state = 'active', activated_at = backoffice.now()"
		" WHERE organization_id = $1 AND id = $2", 2, {UUIDOID, UUIDOID}
	};
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	Life		life;
	Certificate certificate;

	life_begin(&life, "certificates.issue");
	certificate_lock(&life.organization_id, id, &certificate);
	if (!certificate_is(&certificate, "active"))
	{
		Datum		args[] = {UUIDPGetDatum(&life.organization_id), UUIDPGetDatum(id)};

		if (!certificate_is(&certificate, "issued"))
			certificate_refuse(&certificate, "activated", "issued certificates are activated");
		(void) bo_spi_run(&activate, args, NULL, 0);
	}
	life_end(&life);
	PG_RETURN_TEXT_P(cstring_to_text("active"));
}

void
certificate_refuse(const Certificate *certificate, const char *what, const char *rule)
{
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("the certificate can't be %s", what),
			 bo_code("illegal_transition", "it is %s; %s", certificate->state, rule)));
}

/* block(id uuid, reason text) -> text: the state it will return to */
Datum
certificates_block(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *reason = certificates_arg(fcinfo, 1, "reason", MAX_REASON_BYTES, false);
	Life		life;
	Certificate certificate;

	life_begin(&life, "certificates.block");
	certificate_lock(&life.organization_id, id, &certificate);
	if (!certificate_is(&certificate, "blocked"))
	{
		strlcpy(certificate.blocked_from, certificate.state, CERTIFICATE_STATE_BYTES);
		certificate_set_state(&certificate, "blocked");
		certificate_save(&certificate, reason);
	}
	life_end(&life);
	PG_RETURN_TEXT_P(cstring_to_text(certificate.blocked_from));
}

/* unblock(id uuid, reason text) -> text: the state it is in now */
Datum
certificates_unblock(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *reason = certificates_arg(fcinfo, 1, "reason", MAX_REASON_BYTES, false);
	Life		life;
	Certificate certificate;

	life_begin(&life, "certificates.block");
	certificate_lock(&life.organization_id, id, &certificate);
	if (!certificate_is(&certificate, "blocked"))
		certificate_refuse(&certificate, "unblocked", "blocked certificates are unblocked");
	certificate_set_state(&certificate, certificate.blocked_from);
	certificate.blocked_from[0] = '\0';
	certificate_save(&certificate, reason);
	/* Its time may have run out meanwhile: two steps, two events. */
	certificate_expire_now_if_due(&certificate, "validity ended while blocked");
	life_end(&life);
	PG_RETURN_TEXT_P(cstring_to_text(certificate.state));
}

static void
emit_extended(const Certificate *certificate, TimestampTz until)
{
	StreamEvent event;

	stream_begin(&event, "certificate.extended", certificate->channel, certificate->state);
	stream_uuid(&event, "certificateId", &certificate->id);
	stream_uuid(&event, "poolId", &certificate->pool_id);
	stream_time(&event, "validUntil", until);
	stream_emit(&event, &certificate->id, &certificate->organization_id);
}

/* extend(id uuid, valid_until timestamptz) -> text: the state it is in now */
Datum
certificates_extend(PG_FUNCTION_ARGS)
{
	static BoPlan extend = {
		"UPDATE certificates.certificates SET valid_until = $3, state = $4 WHERE organization_id = $1 AND id = $2",
		4, {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID}
	};
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	TimestampTz until = PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	Life		life;
	Certificate certificate;
	Datum		args[4];
	bool		expired;

	if (until <= bo_now() || TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid end of validity"),
				 bo_code("invalid_valid_until", "it must be a time that is still to come")));
	life_begin(&life, "certificates.extend");
	certificate_lock(&life.organization_id, id, &certificate);
	expired = certificate_is(&certificate, "expired");
	if (expired && certificate.requires_activation && !certificate.activated)
		certificate_set_state(&certificate, "issued");
	else if (expired)
		certificate_set_state(&certificate, certificate_state_by_balance(&certificate));
	else if (!certificate_is(&certificate, "issued") && !certificate_is(&certificate, "active") &&
			 !certificate_is(&certificate, "partially_redeemed") && !certificate_is(&certificate, "blocked"))
		certificate_refuse(&certificate, "extended", "certificates in use, blocked or expired are extended");
	args[0] = UUIDPGetDatum(&life.organization_id);
	args[1] = UUIDPGetDatum(id);
	args[2] = TimestampTzGetDatum(until);
	args[3] = CStringGetTextDatum(certificate.state);
	(void) bo_spi_run(&extend, args, NULL, 0);
	if (!expired)
		emit_extended(&certificate, until);
	life_end(&life);
	PG_RETURN_TEXT_P(cstring_to_text(certificate.state));
}

/* The purchase is undone: only while nothing was taken from the certificate. */
static Datum
end_purchase(FunctionCallInfo fcinfo, const char *state)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *reason = certificates_arg(fcinfo, 1, "reason", MAX_REASON_BYTES, false);
	Life		life;
	Certificate certificate;

	life_begin(&life, "certificates.refund");
	certificate_lock(&life.organization_id, id, &certificate);
	if (!certificate_is(&certificate, state))
	{
		(void) redemptions_expire_holds(&certificate);
		if (!certificate_is(&certificate, "issued") && !certificate_is(&certificate, "active") &&
			!certificate_is(&certificate, "blocked") && !certificate_is(&certificate, "partially_redeemed") &&
			!certificate_is(&certificate, "redeemed") && !certificate_is(&certificate, "expired"))
			certificate_refuse(&certificate, state, "purchases of issued certificates are undone");
		if (!certificate_is_untouched(&certificate))
			ereport(ERROR,
					(errcode(BO_CONFLICT),
					 errmsg("the certificate was used"),
					 bo_code("certificate_used", "of " INT64_FORMAT " there are " INT64_FORMAT ", of which " INT64_FORMAT " are held",
							 certificate.face_minor, certificate.balance_minor, certificate.held_minor),
					 errhint("Refund its redemptions and release its holds first.")));
		certificate.balance_minor = 0;
		certificate.blocked_from[0] = '\0';
		certificate_set_state(&certificate, state);
		certificate_save(&certificate, reason);
	}
	life_end(&life);
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/* refund_purchase(id uuid, reason text) -> text */
Datum
certificates_refund_purchase(PG_FUNCTION_ARGS)
{
	return end_purchase(fcinfo, "refunded");
}

/* void_purchase(id uuid, reason text) -> text */
Datum
certificates_void_purchase(PG_FUNCTION_ARGS)
{
	return end_purchase(fcinfo, "voided");
}
