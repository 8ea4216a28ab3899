/*
 * life_keeper.c
 *		What time does to certificates: holds and validity end, and orders that
 *		wait for a pool are tried again.
 *
 * Both are also checked where money is taken, so the keeper being late costs
 * nobody anything.  A certificate that somebody else has locked is left for the
 * next round, and does not stand in the way of those behind it; nor does one that
 * cannot be written, whatever the reason.
 */
#include "certificates/life.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "certificates/redemptions.h"
#include "core/spi.h"
#include "events/events.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define INTERVAL_MS 5000
#define TELL_EVERY_MS 60000
#define BATCH 200

/* Everything whose validity ended before this was looked at since this process began. */
static TimestampTz swept = DT_NOBEGIN;

/* Certificates locked by the query, out of SPI's result, so that other statements may run. */
static int
collect(int count, pg_uuid_t *organizations, pg_uuid_t *ids)
{
	for (int i = 0; i < count; i++)
	{
		organizations[i] = bo_spi_uuid(i, 1);
		ids[i] = bo_spi_uuid(i, 2);
	}
	return count;
}

static void
tell_failure(const pg_uuid_t *id, const char *why)
{
	static TimestampTz told_at = 0;

	if (told_at != 0 && !TimestampDifferenceExceeds(told_at, bo_monotonic(), TELL_EVERY_MS))
		return;
	told_at = bo_monotonic();
	ereport(LOG,
			(errmsg("certificate %s is due, but could not be changed: %s", bo_uuid_text(id), why),
			 errdetail("It is tried again every %d s; perhaps there are others.", INTERVAL_MS / 1000)));
}

/* In a subtransaction: one that fails takes no other with it.  What to do returns whether it changed anything. */
static bool
change_one(const pg_uuid_t *organization, const pg_uuid_t *id, bool (*change) (Certificate *certificate))
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool changed = false;

	CHECK_FOR_INTERRUPTS();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		Certificate certificate;

		certificate_lock(organization, id, &certificate);
		changed = change(&certificate);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* The task's time is over. */
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		changed = false;
		tell_failure(id, edata->message);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return changed;
}

static bool
change_all(int count, const pg_uuid_t *organizations, const pg_uuid_t *ids, bool (*change) (Certificate *certificate))
{
	bool		any = false;

	for (int i = 0; i < count; i++)
		any |= change_one(&organizations[i], &ids[i], change);
	return any;
}

static bool
end_holds(Certificate *certificate)
{
	if (redemptions_expire_holds(certificate) == 0)
		return false;
	(void) certificate_expire_if_due(certificate);
	certificate_save(certificate, NULL);
	return true;
}

static bool
end_validity(Certificate *certificate)
{
	if (!certificate_expire_if_due(certificate))
		return false;
	certificate_save(certificate, "validity ended");
	return true;
}

/* True: a whole batch was found, so there may be more. */
static bool
expire_holds(void)
{
	/* A certificate with several holds that are over comes several times. */
	static BoPlan due = {
		"SELECT c.organization_id, c.id FROM certificates.redemptions r"
		"  JOIN certificates.certificates c ON c.organization_id = r.organization_id AND c.id = r.certificate_id"
		" WHERE r.state = 'authorized' AND r.hold_until <= backoffice.now()"
		" ORDER BY r.hold_until LIMIT " CppAsString2(BATCH) " FOR NO KEY UPDATE OF c SKIP LOCKED"
	};
	pg_uuid_t	organizations[BATCH];
	pg_uuid_t	ids[BATCH];
	int			count = collect(bo_spi_run(&due, NULL, NULL, BATCH), organizations, ids);

	return change_all(count, organizations, ids, end_holds) && count == BATCH;
}

#define VALIDITY_ENDED \
	" FROM certificates.certificates" \
	" WHERE valid_until > $1 AND valid_until <= backoffice.now()" \
	"   AND state IN ('issued', 'active', 'partially_redeemed') AND held_minor = 0"

static bool
expire_certificates(void)
{
	static BoPlan due = {
		"SELECT organization_id, id" VALIDITY_ENDED
		" ORDER BY valid_until LIMIT " CppAsString2(BATCH) " FOR NO KEY UPDATE SKIP LOCKED", 1, {TIMESTAMPTZOID}
	};
	static BoPlan left = {"SELECT" VALIDITY_ENDED " LIMIT 1", 1, {TIMESTAMPTZOID}};
	Datum		arg = TimestampTzGetDatum(swept);
	pg_uuid_t	organizations[BATCH];
	pg_uuid_t	ids[BATCH];
	int			count = collect(bo_spi_run(&due, &arg, NULL, BATCH), organizations, ids);
	bool		any = change_all(count, organizations, ids, end_validity);

	/*
	 * Only when nothing was due, locked by others or not: what was expired just now may still be rolled back.  An
	 * hour of overlap: a validity may be written by a transaction that is under way since then.
	 */
	if (count == 0 && bo_spi_run(&left, &arg, NULL, 1) == 0)
		swept = bo_now() - INT64CONST(3600) * USECS_PER_SEC;
	return any && count == BATCH;
}

/* Paid orders that wait for a pool which has something now are given to the order flow again. */
static bool
retry_blocked_orders(void)
{
	static BoPlan due = {
		"UPDATE certificates.orders o SET retry_asked_at = backoffice.now() FROM"
		" (SELECT b.organization_id, b.order_ref FROM certificates.orders b"
		"   WHERE b.state = 'blocked' AND (b.retry_asked_at IS NULL OR b.retry_asked_at < backoffice.now() - interval '30 s')"
		"     AND EXISTS (SELECT FROM certificates.order_units u"
		"           JOIN certificates.order_lines l ON l.organization_id = u.organization_id AND l.order_ref = u.order_ref AND l.line_id = u.line_id"
		"           JOIN certificates.pools p ON p.organization_id = l.organization_id AND p.code = l.pool"
		"          WHERE u.organization_id = b.organization_id AND u.order_ref = b.order_ref AND u.state = 'blocked' AND p.state IN ('open', 'low'))"
		"   ORDER BY b.created_at LIMIT " CppAsString2(BATCH) " FOR UPDATE SKIP LOCKED) d"
		" WHERE o.organization_id = d.organization_id AND o.order_ref = d.order_ref"
		" RETURNING o.organization_id, o.order_ref, pg_catalog.jsonb_build_object('orderId', o.order_ref)"
	};
	int			count;
	SPITupleTable *rows;

	bo_spi_begin();
	count = bo_spi_run(&due, NULL, NULL, 0);
	rows = SPI_tuptable;
	for (int i = 0; i < count; i++)
	{
		pg_uuid_t	organization;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		SPI_tuptable = rows;
		organization = bo_spi_uuid(i, 1);
		(void) events_emit("certificates.commands", bo_spi_text(i, 2), "order.retry",
						   DatumGetJsonbP(bo_spi_datum(i, 3, &isnull)), NULL, &organization, NULL);
	}
	bo_spi_end();
	return count == BATCH;
}

static bool
expire(void)
{
	bool		more;

	bo_spi_begin();
	more = expire_holds();
	more |= expire_certificates();
	bo_spi_end();
	return more;
}

void
life_keeper_init(void)
{
	events_register_keeper_task("certificates: expiry", INTERVAL_MS, expire);
	events_register_keeper_task("certificates: blocked orders", INTERVAL_MS, retry_blocked_orders);
}
