/*
 * refunds.c
 *		Giving redeemed money back to a certificate.
 *
 * Never more than was taken: a refund is shared out among the certificate's
 * redemptions, the newest first, and each keeps count of what it gave back.
 */
#include "certificates/certificate.h"

#include "catalog/pg_type.h"
#include "certificates/certificates.h"
#include "common/int.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(certificates_refund);

static void
require_refundable(const Certificate *certificate)
{
	if (certificate_is(certificate, "partially_redeemed") || certificate_is(certificate, "redeemed") ||
		certificate_is(certificate, "active") || certificate_is(certificate, "blocked") ||
		certificate_is(certificate, "expired"))
		return;
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("nothing can be refunded to the certificate"),
			 bo_code("not_refundable", "it is %s", certificate->state),
			 errhint(certificate_is(certificate, "replaced") ? "Give the money to its successor, or back by another way."
					 : "Refunds go to certificates from which money was taken.")));
}

static void
give_back(const pg_uuid_t *organization, const pg_uuid_t *redemption, int64 amount_minor)
{
	static BoPlan update = {
		"UPDATE certificates.redemptions SET refunded_minor = refunded_minor + $3,"
		"       state = CASE WHEN refunded_minor + $3 = captured_minor THEN 'refunded' ELSE 'partially_refunded' END"
		" WHERE organization_id = $1 AND id = $2", 3, {UUIDOID, UUIDOID, INT8OID}
	};
	Datum		args[] = {UUIDPGetDatum(organization), UUIDPGetDatum(redemption), Int64GetDatum(amount_minor)};

	(void) bo_spi_run(&update, args, NULL, 0);
}

/* Shares the amount out; error refund_exceeds_redeemed if it is more than was taken. */
static void
share_out(const Certificate *certificate, const pg_uuid_t *redemption, int64 amount_minor)
{
	static BoPlan list = {
		"SELECT id, captured_minor - refunded_minor FROM certificates.redemptions"
		" WHERE organization_id = $1 AND certificate_id = $2 AND state IN ('captured', 'partially_refunded')"
		"   AND ($3 IS NULL OR id = $3)"
		" ORDER BY id DESC FOR NO KEY UPDATE", 3, {UUIDOID, UUIDOID, UUIDOID}
	};
	Datum		args[3];
	char		nulls[3] = {' ', ' ', redemption ? ' ' : 'n'};
	int			count;
	int64		left = amount_minor;
	SPITupleTable *rows;

	args[0] = UUIDPGetDatum(&certificate->organization_id);
	args[1] = UUIDPGetDatum(&certificate->id);
	args[2] = redemption ? UUIDPGetDatum(redemption) : (Datum) 0;
	count = bo_spi_run(&list, args, nulls, 0);
	rows = SPI_tuptable;
	for (int i = 0; i < count && left > 0; i++)
	{
		pg_uuid_t	id;
		int64		part;

		CHECK_FOR_INTERRUPTS();
		SPI_tuptable = rows;
		id = bo_spi_uuid(i, 1);
		part = Min(left, bo_spi_int64(i, 2));
		give_back(&certificate->organization_id, &id, part);
		left -= part;
	}
	if (left > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("more than was redeemed can't be refunded"),
				 bo_code("refund_exceeds_redeemed", "asked for " INT64_FORMAT ", taken and not refunded yet are " INT64_FORMAT " (minor units of %s)",
						 amount_minor, amount_minor - left, certificate->currency)));
}

static pg_uuid_t
record(const Certificate *certificate, int64 amount_minor, const char *reason)
{
	static BoPlan insert = {
		"INSERT INTO certificates.refunds (organization_id, id, certificate_id, amount_minor, reason)"
		" VALUES ($1, $2, $3, $4, $5)", 5, {UUIDOID, UUIDOID, UUIDOID, INT8OID, TEXTOID}
	};
	pg_uuid_t	id;
	Datum		args[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', reason ? ' ' : 'n'};

	bo_uuid7(&id);
	args[0] = UUIDPGetDatum(&certificate->organization_id);
	args[1] = UUIDPGetDatum(&id);
	args[2] = UUIDPGetDatum(&certificate->id);
	args[3] = Int64GetDatum(amount_minor);
	args[4] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	(void) bo_spi_run(&insert, args, nulls, 0);
	return id;
}

/* refund(id uuid, amount bigint, idempotency_key text, redemption uuid, reason text) -> certificates.movement */
Datum
certificates_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	int64		amount = certificates_arg_amount(fcinfo, 1);
	char	   *key = bo_arg_text(fcinfo, 2);
	pg_uuid_t  *redemption = PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3);
	char	   *reason = certificates_arg(fcinfo, 4, "reason", MAX_REASON_BYTES, false);
	Life		life;
	Certificate certificate;
	Movement	movement;
	const char *more[MOVEMENT_MORE_ARGUMENTS] = {redemption ? bo_uuid_text(redemption) : NULL, reason};

	life_begin(&life, "certificates.refund");
	if (movement_begin("certificates.refund", key, id, amount, more, &movement))
	{
		pg_uuid_t	refund;

		certificate_lock(&life.organization_id, id, &certificate);
		require_refundable(&certificate);
		share_out(&certificate, redemption, amount);
		if (pg_add_s64_overflow(certificate.balance_minor, amount, &certificate.balance_minor))
			elog(ERROR, "the balance overflows");
		if (certificate_is(&certificate, "blocked"))
			strlcpy(certificate.blocked_from, certificate_state_by_balance(&certificate), CERTIFICATE_STATE_BYTES);
		else if (!certificate_is(&certificate, "expired"))
			certificate_set_state(&certificate, certificate_state_by_balance(&certificate));
		certificate_save(&certificate, reason);
		certificate_expire_now_if_due(&certificate, "validity ended");
		refund = record(&certificate, amount, reason);
		movement_fill(&movement, &certificate, &refund, "refunded", amount);
		movement_emit(&movement, &certificate, NULL, certificate.order_ref);
		movement_finish("certificates.refund", key, more, &movement);
	}
	life_end(&life);
	PG_RETURN_DATUM(movement_tuple(fcinfo, &movement));
}
