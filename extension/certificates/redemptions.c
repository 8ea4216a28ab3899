/*
 * redemptions.c
 *		Taking money: holds (authorize, capture, release) and one-step redemption.
 *
 * A hold counts against the certificate at once: held_minor is the sum of its
 * open holds, available is balance - held.  Several may be open together.  The
 * certificate's row lock serialises all of it, and the table's constraint
 * (balance >= held >= 0) stands behind.
 */
#include "certificates/redemptions.h"

#include "catalog/pg_type.h"
#include "certificates/certificates.h"
#include "common/int.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_authorize);
PG_FUNCTION_INFO_V1(certificates_capture);
PG_FUNCTION_INFO_V1(certificates_release_hold);
PG_FUNCTION_INFO_V1(certificates_redeem);

typedef struct Redemption
{
	pg_uuid_t	id;
	pg_uuid_t	certificate_id;
	char	   *state;
	int64		amount_minor;
	TimestampTz hold_until;
	char	   *channel;
	char	   *order_ref;
} Redemption;

/* until NULL: money taken at once. */
static pg_uuid_t
insert_redemption(const Certificate *certificate, int64 amount_minor, const TimestampTz *until, const char *channel, const char *order_ref)
{
	static BoPlan insert = {
		"INSERT INTO certificates.redemptions (organization_id, id, certificate_id, state, amount_minor, captured_minor,"
		"                                      hold_until, channel, order_ref, captured_at)"
		" VALUES ($1, $2, $3, CASE WHEN $5 IS NULL THEN 'captured' ELSE 'authorized' END, $4,"
		"         CASE WHEN $5 IS NULL THEN $4 ELSE 0 END, $5, $6, $7, CASE WHEN $5 IS NULL THEN backoffice.now() END)",
		7, {UUIDOID, UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	};
	Datum		args[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};
	pg_uuid_t	id;

	bo_uuid7(&id);
	args[0] = UUIDPGetDatum(&certificate->organization_id);
	args[1] = UUIDPGetDatum(&id);
	args[2] = UUIDPGetDatum(&certificate->id);
	args[3] = Int64GetDatum(amount_minor);
	args[4] = until ? TimestampTzGetDatum(*until) : (Datum) 0;
	nulls[4] = until ? ' ' : 'n';
	args[5] = channel ? CStringGetTextDatum(channel) : (Datum) 0;
	nulls[5] = channel ? ' ' : 'n';
	args[6] = order_ref ? CStringGetTextDatum(order_ref) : (Datum) 0;
	nulls[6] = order_ref ? ' ' : 'n';
	(void) bo_spi_run(&insert, args, nulls, 0);
	return id;
}

/* Looks without locking: the certificate's lock comes first. */
static pg_uuid_t
certificate_of(const pg_uuid_t *organization, const pg_uuid_t *redemption)
{
	static BoPlan find = {
		"SELECT certificate_id FROM certificates.redemptions WHERE organization_id = $1 AND id = $2", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[] = {UUIDPGetDatum(organization), UUIDPGetDatum(redemption)};

	if (bo_spi_run(&find, args, NULL, 1) == 0)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no redemption %s", bo_uuid_text(redemption)),
				 bo_code("redemption_not_found", "no hold or redemption of this organization has that id")));
	return bo_spi_uuid(0, 1);
}

static void
lock_redemption(const pg_uuid_t *organization, const pg_uuid_t *id, Redemption *redemption)
{
	static BoPlan lock = {
		"SELECT certificate_id, state, amount_minor, COALESCE(hold_until, 'infinity'), channel, order_ref"
		"  FROM certificates.redemptions WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};

	if (bo_spi_run(&lock, args, NULL, 1) == 0)
		elog(ERROR, "a redemption is gone");
	redemption->id = *id;
	redemption->certificate_id = bo_spi_uuid(0, 1);
	redemption->state = bo_spi_text(0, 2);
	redemption->amount_minor = bo_spi_int64(0, 3);
	redemption->hold_until = DatumGetTimestampTz(bo_spi_int64(0, 4));
	redemption->channel = bo_spi_text(0, 5);
	redemption->order_ref = bo_spi_text(0, 6);
}

static void
close_redemption(const pg_uuid_t *organization, const pg_uuid_t *id, const char *state, int64 captured_minor)
{
	static BoPlan update = {
		"UPDATE certificates.redemptions SET state = $3, captured_minor = $4,"
		"       captured_at = CASE WHEN $4 > 0 THEN backoffice.now() END"
		" WHERE organization_id = $1 AND id = $2", 4, {UUIDOID, UUIDOID, TEXTOID, INT8OID}
	};
	Datum		args[] = {UUIDPGetDatum(organization), UUIDPGetDatum(id), CStringGetTextDatum(state), Int64GetDatum(captured_minor)};

	(void) bo_spi_run(&update, args, NULL, 0);
}

static void
require_open(const Redemption *redemption, bool for_capture)
{
	const char *code = "hold_expired";

	if (strcmp(redemption->state, "authorized") == 0 && !(for_capture && redemption->hold_until <= bo_now()))
		return;
	if (strcmp(redemption->state, "released") == 0)
		code = "already_released";
	else if (strcmp(redemption->state, "authorized") != 0 && strcmp(redemption->state, "expired") != 0)
		code = "already_captured";
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("the hold is not open"),
			 bo_code(code, "it is %s", strcmp(code, "hold_expired") == 0 ? "expired" : redemption->state),
			 errhint("Authorize again.")));
}

int
redemptions_expire_holds(Certificate *certificate)
{
	static BoPlan expire = {
		"UPDATE certificates.redemptions SET state = 'expired'"
		" WHERE organization_id = $1 AND certificate_id = $2 AND state = 'authorized' AND hold_until <= backoffice.now()"
		" RETURNING id, amount_minor, channel, order_ref", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[] = {UUIDPGetDatum(&certificate->organization_id), UUIDPGetDatum(&certificate->id)};
	int			count = bo_spi_run(&expire, args, NULL, 0);
	SPITupleTable *rows = SPI_tuptable;

	for (int i = 0; i < count; i++)
	{
		Movement	movement;
		pg_uuid_t	id;
		int64		amount;
		char	   *channel,
				   *order_ref;

		/* movement_emit() runs SQL of its own, which moves SPI's current result. */
		SPI_tuptable = rows;
		id = bo_spi_uuid(i, 1);
		amount = bo_spi_int64(i, 2);
		channel = bo_spi_text(i, 3);
		order_ref = bo_spi_text(i, 4);
		certificate->held_minor -= amount;
		movement_fill(&movement, certificate, &id, "expired", amount);
		movement_emit(&movement, certificate, channel, order_ref);
	}
	return count;
}

/* Room for the amount, after holds whose time is over were freed. */
static void
require_available(Certificate *certificate, int64 amount_minor)
{
	certificate_require_redeemable(certificate);
	if (certificate->balance_minor - certificate->held_minor < amount_minor)
		(void) redemptions_expire_holds(certificate);
	if (certificate->balance_minor - certificate->held_minor < amount_minor)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the certificate has not enough money"),
				 bo_code("insufficient_balance", "available are " INT64_FORMAT " of " INT64_FORMAT " asked for (minor units of %s)",
						 certificate->balance_minor - certificate->held_minor, amount_minor, certificate->currency)));
}

static TimestampTz
hold_end(FunctionCallInfo fcinfo, int number)
{
	TimestampTz now = bo_now();
	TimestampTz until;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid duration of the hold"),
				 bo_code("invalid_ttl", "ttl is NULL")));
	until = certificates_later(now, PG_GETARG_INTERVAL_P(number));
	if (until <= now || until > now + 366 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid duration of the hold"),
				 bo_code("invalid_ttl", "a hold lasts longer than nothing and at most 366 days")));
	return until;
}

/* Independent of IntervalStyle. */
static char *
interval_as_key(const Interval *interval)
{
	return psprintf("%d %d " INT64_FORMAT, interval->month, interval->day, interval->time);
}

/* authorize(id uuid, amount bigint, idempotency_key text, ttl interval, channel text, order_ref text) -> uuid */
Datum
certificates_authorize(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	int64		amount = certificates_arg_amount(fcinfo, 1);
	char	   *key = bo_arg_text(fcinfo, 2);
	TimestampTz until = hold_end(fcinfo, 3);
	char	   *channel = certificates_arg(fcinfo, 4, "channel", MAX_REF_BYTES, false);
	char	   *order_ref = certificates_arg(fcinfo, 5, "order_ref", MAX_REF_BYTES, false);
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));
	const char *more[MOVEMENT_MORE_ARGUMENTS] = {order_ref, channel, interval_as_key(PG_GETARG_INTERVAL_P(3))};
	Life		life;
	Certificate certificate;
	Movement	movement;

	life_begin(&life, "certificates.redeem");
	if (movement_begin("certificates.authorize", key, id, amount, more, &movement))
	{
		certificate_lock(&life.organization_id, id, &certificate);
		require_available(&certificate, amount);
		certificate.held_minor += amount;
		certificate_save(&certificate, NULL);
		movement.id = insert_redemption(&certificate, amount, &until, channel, order_ref);
		*result = movement.id;
		movement_fill(&movement, &certificate, result, "authorized", amount);
		movement_emit(&movement, &certificate, channel, order_ref);
		movement_finish("certificates.authorize", key, more, &movement);
	}
	*result = movement.id;
	life_end(&life);
	PG_RETURN_UUID_P(result);
}

/* capture(redemption uuid, amount bigint, idempotency_key text) -> certificates.movement */
Datum
certificates_capture(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	int64		amount = PG_ARGISNULL(1) ? 0 : certificates_arg_amount(fcinfo, 1);
	char	   *key = bo_arg_text(fcinfo, 2);
	const char *more[MOVEMENT_MORE_ARGUMENTS] = {NULL};
	Life		life;
	Certificate certificate;
	Redemption	redemption;
	Movement	movement;

	life_begin(&life, "certificates.redeem");
	if (movement_begin("certificates.capture", key, id, amount, more, &movement))
	{
		redemption.certificate_id = certificate_of(&life.organization_id, id);
		certificate_lock(&life.organization_id, &redemption.certificate_id, &certificate);
		lock_redemption(&life.organization_id, id, &redemption);
		require_open(&redemption, true);
		if (certificate_is(&certificate, "blocked"))
			certificate_require_redeemable(&certificate);
		if (amount == 0)
			amount = redemption.amount_minor;
		if (amount > redemption.amount_minor)
			ereport(ERROR,
					(errcode(BO_CONFLICT),
					 errmsg("more than is held can't be captured"),
					 bo_code("hold_exceeded", "held are " INT64_FORMAT ", asked for " INT64_FORMAT " (minor units of %s)",
							 redemption.amount_minor, amount, certificate.currency)));
		certificate.held_minor -= redemption.amount_minor;
		certificate.balance_minor -= amount;
		certificate_set_state(&certificate, certificate_state_by_balance(&certificate));
		(void) certificate_expire_if_due(&certificate);
		certificate_save(&certificate, NULL);
		close_redemption(&life.organization_id, id, "captured", amount);
		movement_fill(&movement, &certificate, id, "captured", amount);
		movement_emit(&movement, &certificate, redemption.channel, redemption.order_ref);
		movement_finish("certificates.capture", key, more, &movement);
	}
	life_end(&life);
	PG_RETURN_DATUM(movement_tuple(fcinfo, &movement));
}

/* release_hold(redemption uuid) -> certificates.movement */
Datum
certificates_release_hold(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	Life		life;
	Certificate certificate;
	Redemption	redemption;
	Movement	movement;

	life_begin(&life, "certificates.redeem");
	redemption.certificate_id = certificate_of(&life.organization_id, id);
	certificate_lock(&life.organization_id, &redemption.certificate_id, &certificate);
	lock_redemption(&life.organization_id, id, &redemption);
	require_open(&redemption, false);
	certificate.held_minor -= redemption.amount_minor;
	(void) certificate_expire_if_due(&certificate);
	certificate_save(&certificate, NULL);
	close_redemption(&life.organization_id, id, "released", 0);
	movement_fill(&movement, &certificate, id, "released", redemption.amount_minor);
	movement_emit(&movement, &certificate, redemption.channel, redemption.order_ref);
	life_end(&life);
	PG_RETURN_DATUM(movement_tuple(fcinfo, &movement));
}

/* redeem(id uuid, amount bigint, idempotency_key text, channel text, order_ref text) -> certificates.movement */
Datum
certificates_redeem(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	int64		amount = certificates_arg_amount(fcinfo, 1);
	char	   *key = bo_arg_text(fcinfo, 2);
	char	   *channel = certificates_arg(fcinfo, 3, "channel", MAX_REF_BYTES, false);
	char	   *order_ref = certificates_arg(fcinfo, 4, "order_ref", MAX_REF_BYTES, false);
	const char *more[MOVEMENT_MORE_ARGUMENTS] = {order_ref, channel};
	Life		life;
	Certificate certificate;
	Movement	movement;

	life_begin(&life, "certificates.redeem");
	if (movement_begin("certificates.redeem", key, id, amount, more, &movement))
	{
		pg_uuid_t	redemption;

		certificate_lock(&life.organization_id, id, &certificate);
		require_available(&certificate, amount);
		certificate.balance_minor -= amount;
		certificate_set_state(&certificate, certificate_state_by_balance(&certificate));
		certificate_save(&certificate, NULL);
		redemption = insert_redemption(&certificate, amount, NULL, channel, order_ref);
		movement_fill(&movement, &certificate, &redemption, "captured", amount);
		movement_emit(&movement, &certificate, channel, order_ref);
		movement_finish("certificates.redeem", key, more, &movement);
	}
	life_end(&life);
	PG_RETURN_DATUM(movement_tuple(fcinfo, &movement));
}
