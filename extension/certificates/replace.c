/*
 * replace.c
 *		A lost certificate gives its money to a successor from the same pool.
 */
#include "certificates/life.h"

#include "catalog/pg_type.h"
#include "certificates/certificates.h"
#include "certificates/redemptions.h"
#include "certificates/reserve.h"
#include "certificates/rows.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_replace);

/* False: the pool has nothing to give, and issue.blocked was emitted. */
static bool
reserve_successor(const Certificate *certificate, pg_uuid_t *successor)
{
	return certificates_reserve(&certificate->organization_id, &certificate->pool_id,
								certificate->channel ? certificate->channel : "replacement", certificate->order_ref, successor);
}

/* The successor is worth what the old one was, for as long. */
static void
hand_over(const Certificate *old, const pg_uuid_t *successor, const char *reason)
{
	static BoPlan give = {
		"UPDATE certificates.certificates SET balance_minor = $3, valid_until = $4, client_ref = $5"
		" WHERE organization_id = $1 AND id = $2", 5, {UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID, TEXTOID}
	};
	static BoPlan link = {
		"UPDATE certificates.certificates SET state = 'replaced', balance_minor = 0, blocked_from = NULL, replaced_by = $3"
		" WHERE organization_id = $1 AND id = $2", 3, {UUIDOID, UUIDOID, UUIDOID}
	};
	Datum		gift[5];
	char		nulls[5] = {' ', ' ', ' ', old->valid_until == DT_NOEND ? 'n' : ' ', old->client_ref ? ' ' : 'n'};
	Datum		tie[] = {UUIDPGetDatum(&old->organization_id), UUIDPGetDatum(&old->id), UUIDPGetDatum(successor)};

	gift[0] = UUIDPGetDatum(&old->organization_id);
	gift[1] = UUIDPGetDatum(successor);
	gift[2] = Int64GetDatum(old->balance_minor);
	gift[3] = TimestampTzGetDatum(old->valid_until);
	gift[4] = old->client_ref ? CStringGetTextDatum(old->client_ref) : (Datum) 0;
	(void) bo_spi_run(&give, gift, nulls, 0);
	certificates_step_note(NULL, reason);
	(void) bo_spi_run(&link, tie, NULL, 0);
	certificates_step_note(NULL, NULL);
}

/*
 * replace(id uuid, reason text) -> uuid: the successor, issued, its code not shown yet; NULL: the pool is empty, which is
 * not raised, so that issue.blocked commits
 */
Datum
certificates_replace(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *reason = certificates_arg(fcinfo, 1, "reason", MAX_REASON_BYTES, false);
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));
	Life		life;
	Certificate old;
	Certificate successor;

	life_begin(&life, "certificates.replace");
	certificate_lock(&life.organization_id, id, &old);
	(void) redemptions_expire_holds(&old);
	if (!certificate_is(&old, "issued") && !certificate_is(&old, "active") &&
		!certificate_is(&old, "partially_redeemed") && !certificate_is(&old, "blocked"))
		certificate_refuse(&old, "replaced", "certificates in use or blocked are replaced");
	if (old.held_minor > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the certificate has open holds"),
				 bo_code("open_holds", INT64_FORMAT " are held", old.held_minor),
				 errhint("Capture or release them first.")));
	certificate_save(&old, NULL);
	if (!reserve_successor(&old, result))
	{
		life_end(&life);
		PG_RETURN_NULL();
	}
	hand_over(&old, result, reason);
	certificate_lock(&life.organization_id, result, &successor);
	life_issue(&successor, NULL, NULL, false);
	certificate_lock(&life.organization_id, result, &successor);
	certificate_expire_now_if_due(&successor, "validity ended");
	life_end(&life);
	PG_RETURN_UUID_P(result);
}
