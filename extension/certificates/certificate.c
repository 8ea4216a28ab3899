/*
 * certificate.c
 *		Locks, reads and writes one certificate.
 */
#include "certificates/certificate.h"

#include "access/htup_details.h"
#include "access/access.h"
#include "catalog/pg_type.h"
#include "certificates/certificates.h"
#include "certificates/rows.h"
#include "core/principal.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define READ_CERTIFICATE \
	"SELECT c.organization_id, c.id, c.pool_id, c.state, c.blocked_from, p.currency, c.face_value_minor, c.balance_minor," \
	"       c.held_minor, p.requires_activation, c.valid_until, p.code, c.channel, c.order_ref, c.client_ref, c.activated_at" \
	"  FROM certificates.certificates c" \
	"  JOIN certificates.pools p ON p.organization_id = c.organization_id AND p.id = c.pool_id" \
	" WHERE c.organization_id = $1 AND c.id = $2 FOR NO KEY UPDATE OF c"

void
life_begin(Life *life, const char *permission)
{
	access_require(permission);
	life->organization_id = principal_require()->organization_id;
	life->context = CurrentMemoryContext;
	life->caller = bo_user_definer();
	bo_spi_begin();
}

void
life_end(Life *life)
{
	bo_spi_end();
	bo_user_restore(life->caller);
}

static void
read_row(Certificate *certificate)
{
	bool		isnull;
	char	   *text;
	Datum		valid_until;

	certificate->organization_id = bo_spi_uuid(0, 1);
	certificate->id = bo_spi_uuid(0, 2);
	certificate->pool_id = bo_spi_uuid(0, 3);
	strlcpy(certificate->state, bo_spi_text(0, 4), CERTIFICATE_STATE_BYTES);
	text = bo_spi_text(0, 5);
	strlcpy(certificate->blocked_from, text ? text : "", CERTIFICATE_STATE_BYTES);
	strlcpy(certificate->currency, bo_spi_text(0, 6), sizeof(certificate->currency));
	certificate->face_minor = bo_spi_int64(0, 7);
	certificate->balance_minor = bo_spi_int64(0, 8);
	certificate->held_minor = bo_spi_int64(0, 9);
	certificate->requires_activation = bo_spi_bool(0, 10);
	valid_until = bo_spi_datum(0, 11, &isnull);
	certificate->valid_until = isnull ? DT_NOEND : DatumGetTimestampTz(valid_until);
	certificate->pool = bo_spi_text(0, 12);
	certificate->channel = bo_spi_text(0, 13);
	certificate->order_ref = bo_spi_text(0, 14);
	certificate->client_ref = bo_spi_text(0, 15);
	certificate->activated = !bo_spi_isnull(0, 16);
}

void
certificate_lock(const pg_uuid_t *organization, const pg_uuid_t *id, Certificate *certificate)
{
	static BoPlan lock = {READ_CERTIFICATE, 2, {UUIDOID, UUIDOID}};
	Datum		args[] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};

	if (bo_spi_run(&lock, args, NULL, 1) == 0)
		certificate_not_found(id);
	read_row(certificate);
}

void
certificate_save(const Certificate *certificate, const char *reason)
{
	static BoPlan save = {
		"UPDATE certificates.certificates SET state = $3, balance_minor = $4, held_minor = $5, blocked_from = $6"
		" WHERE organization_id = $1 AND id = $2", 6, {UUIDOID, UUIDOID, TEXTOID, INT8OID, INT8OID, TEXTOID}
	};
	Datum		args[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	args[0] = UUIDPGetDatum(&certificate->organization_id);
	args[1] = UUIDPGetDatum(&certificate->id);
	args[2] = CStringGetTextDatum(certificate->state);
	args[3] = Int64GetDatum(certificate->balance_minor);
	args[4] = Int64GetDatum(certificate->held_minor);
	args[5] = CStringGetTextDatum(certificate->blocked_from);
	if (certificate->blocked_from[0] == '\0')
		nulls[5] = 'n';

	certificates_step_note(NULL, reason);
	if (bo_spi_run(&save, args, nulls, 0) != 1)
		elog(ERROR, "a locked certificate is gone");
	certificates_step_note(NULL, NULL);
}

bool
certificate_is(const Certificate *certificate, const char *state)
{
	return strcmp(certificate->state, state) == 0;
}

void
certificate_set_state(Certificate *certificate, const char *state)
{
	strlcpy(certificate->state, state, CERTIFICATE_STATE_BYTES);
}

bool
certificate_is_untouched(const Certificate *certificate)
{
	return certificate->balance_minor == certificate->face_minor && certificate->held_minor == 0;
}

void
certificate_require_redeemable(const Certificate *certificate)
{
	if (certificate_is(certificate, "blocked"))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the certificate is blocked"),
				 bo_code("certificate_blocked", "it was \"%s\" before", certificate->blocked_from),
				 errhint("Unblock it first.")));
	if (certificate_is(certificate, "expired") || certificate->valid_until <= bo_now())
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the certificate has expired"),
				 bo_code("certificate_expired", "it was valid until %s", timestamptz_to_str(certificate->valid_until)),
				 errhint("Extend it with certificates.extend().")));
	if (!certificate_is(certificate, "active") && !certificate_is(certificate, "partially_redeemed") &&
		!certificate_is(certificate, "redeemed") &&
		!(certificate_is(certificate, "issued") && !certificate->requires_activation))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the certificate can't be redeemed"),
				 bo_code("not_redeemable", "it is %s%s", certificate->state,
						 certificate_is(certificate, "issued") ? ", and its pool asks for activation" : ""),
				 errhint("Redeemable are certificates that are active, partially redeemed, or issued from a pool without activation.")));
}

int64
certificates_arg_amount(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number) || PG_GETARG_INT64(number) <= 0)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid amount"),
				 bo_code("invalid_amount", "an amount is a positive number of minor units")));
	return PG_GETARG_INT64(number);
}

const char *
certificate_state_by_balance(const Certificate *certificate)
{
	if (certificate->balance_minor == 0)
		return "redeemed";
	if (certificate->balance_minor < certificate->face_minor)
		return "partially_redeemed";
	return "active";
}

bool
certificate_expire_if_due(Certificate *certificate)
{
	if (certificate->held_minor > 0 || certificate->valid_until > bo_now())
		return false;
	if (!certificate_is(certificate, "issued") && !certificate_is(certificate, "active") &&
		!certificate_is(certificate, "partially_redeemed"))
		return false;
	certificate_set_state(certificate, "expired");
	return true;
}

void
certificate_expire_now_if_due(Certificate *certificate, const char *reason)
{
	if (certificate_expire_if_due(certificate))
		certificate_save(certificate, reason);
}
