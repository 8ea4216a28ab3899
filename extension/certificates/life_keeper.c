/*
 * life_keeper.c
 *		What time does to certificates: holds and validity end, and orders that
 *		wait for a pool are tried again.
 *
 * Both are also checked where money is taken, so the keeper being late costs
 * nobody anything.  A certificate that somebody else has locked is left for the
 * next round, and does not stand in the way of those behind it; nor does one that
 * cannot be written, whatever the reason: it is put aside for half a minute.
 */
#include "certificates/life.h"

#include "catalog/pg_type.h"
#include "certificates/aside.h"
#include "certificates/redemptions.h"
#include "core/spi.h"
#include "events/events.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define INTERVAL_MS 5000
#define BATCH 200

/* Everything whose validity ended before this was looked at since this process began. */
static TimestampTz swept = DT_NOBEGIN;

/* What a round has in hand: rows locked by its query, out of SPI's result, so that other statements may run. */
typedef struct Batch
{
	int			count;
	int			from,			/* those that the next attempt is about */
				upto;
	pg_uuid_t	organizations[BATCH];
	pg_uuid_t	ids[BATCH];		/* also what they are put aside by */
	char	   *refs[BATCH];	/* of orders */
	const char *what;			/* "certificate", for the log */
	void		(*change) (const struct Batch *batch, int i);
} Batch;

static void
change_some(void *arg)
{
	const Batch *batch = arg;

	for (int i = batch->from; i < batch->upto; i++)
	{
		CHECK_FOR_INTERRUPTS();
		batch->change(batch, i);
	}
}

/*
 * All together; where that fails, each by itself, so that one that fails takes no
 * other with it.  True: there may be more.
 */
static bool
change_all(Batch *batch, Aside *aside)
{
	batch->from = 0;
	batch->upto = batch->count;
	if (batch->count == 0 || events_keeper_try(change_some, batch, NULL))
		return batch->count == BATCH;
	for (int i = 0; i < batch->count; i++)
	{
		const char *name = batch->refs[i] ? batch->refs[i] : bo_uuid_text(&batch->ids[i]);

		batch->from = i;
		batch->upto = i + 1;
		if (!events_keeper_try(change_some, batch, psprintf("%s %s", batch->what, name)) && !aside_put(aside, &batch->ids[i]))
			return false;
	}
	return batch->count == BATCH;
}

/* The plan's columns: organization, id; references says that there is a third. */
static void
collect(Batch *batch, BoPlan *plan, const Datum *args, bool references)
{
	batch->count = bo_spi_run(plan, args, NULL, BATCH);
	for (int i = 0; i < batch->count; i++)
	{
		batch->organizations[i] = bo_spi_uuid(i, 1);
		batch->ids[i] = bo_spi_uuid(i, 2);
		batch->refs[i] = references ? bo_spi_text(i, 3) : NULL;
	}
}

static void
end_holds(const Batch *batch, int i)
{
	Certificate certificate;

	certificate_lock(&batch->organizations[i], &batch->ids[i], &certificate);
	if (redemptions_expire_holds(&certificate) == 0)
		return;
	(void) certificate_expire_if_due(&certificate);
	certificate_save(&certificate, NULL);
}

static void
end_validity(const Batch *batch, int i)
{
	Certificate certificate;

	certificate_lock(&batch->organizations[i], &batch->ids[i], &certificate);
	if (certificate_expire_if_due(&certificate))
		certificate_save(&certificate, "validity ended");
}

/* True: a whole batch was found, so there may be more. */
static bool
expire_holds(void)
{
	/* A certificate with several holds that are over comes several times. */
	static BoPlan due = {
		"SELECT c.organization_id, c.id FROM certificates.redemptions r"
		"  JOIN certificates.certificates c ON c.organization_id = r.organization_id AND c.id = r.certificate_id"
		" WHERE r.state = 'authorized' AND r.hold_until <= backoffice.now() AND c.id NOT IN (SELECT pg_catalog.unnest($1))"
		" ORDER BY r.hold_until LIMIT " CppAsString2(BATCH) " FOR NO KEY UPDATE OF c, r SKIP LOCKED", 1, {UUIDARRAYOID}
	};
	static Aside aside;
	Batch		batch = {.what = "certificate",.change = end_holds};
	Datum		arg = aside_array(&aside);

	collect(&batch, &due, &arg, false);
	return change_all(&batch, &aside);
}

#define VALIDITY_ENDED \
	" FROM certificates.certificates" \
	" WHERE valid_until > $1 AND valid_until <= backoffice.now()" \
	"   AND state IN ('issued', 'active', 'partially_redeemed') AND held_minor = 0"

static bool
expire_certificates(void)
{
	static BoPlan due = {
		"SELECT organization_id, id" VALIDITY_ENDED " AND id NOT IN (SELECT pg_catalog.unnest($2))"
		" ORDER BY valid_until LIMIT " CppAsString2(BATCH) " FOR NO KEY UPDATE SKIP LOCKED", 2, {TIMESTAMPTZOID, UUIDARRAYOID}
	};
	static BoPlan left = {"SELECT" VALIDITY_ENDED " LIMIT 1", 1, {TIMESTAMPTZOID}};
	static Aside aside;
	Batch		batch = {.what = "certificate",.change = end_validity};
	Datum		args[2] = {TimestampTzGetDatum(swept), aside_array(&aside)};

	collect(&batch, &due, args, false);

	/*
	 * Only when nothing was due, locked by others, put aside or not: what was expired just now may still be rolled back.
	 * An hour of overlap: a validity may be written by a transaction that is under way since then.
	 */
	if (batch.count == 0 && bo_spi_run(&left, args, NULL, 1) == 0)
		swept = bo_now() - INT64CONST(3600) * USECS_PER_SEC;
	return change_all(&batch, &aside);
}

static void
ask_again(const Batch *batch, int i)
{
	static BoPlan asked = {
		"UPDATE certificates.orders SET retry_asked_at = backoffice.now() WHERE organization_id = $1 AND order_ref = $2"
		" RETURNING pg_catalog.jsonb_build_object('orderId', order_ref)", 2, {UUIDOID, TEXTOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&batch->organizations[i]), CStringGetTextDatum(batch->refs[i])};
	bool		isnull;

	if (bo_spi_run(&asked, args, NULL, 0) == 1)
		(void) events_emit("certificates.commands", batch->refs[i], "order.retry",
						   DatumGetJsonbP(bo_spi_datum(0, 1, &isnull)), NULL, &batch->organizations[i], NULL);
}

#define ORDER_ID "pg_catalog.md5(b.organization_id::text || ':' || b.order_ref)::uuid"

/* Paid orders that wait for a pool which has something now are given to the order flow again. */
static bool
retry_blocked_orders(void)
{
	static BoPlan due = {
		"SELECT b.organization_id, " ORDER_ID ", b.order_ref FROM certificates.orders b"
		" WHERE b.state = 'blocked' AND (b.retry_asked_at IS NULL OR b.retry_asked_at < backoffice.now() - interval '30 s')"
		"   AND " ORDER_ID " NOT IN (SELECT pg_catalog.unnest($1))"
		"   AND EXISTS (SELECT FROM certificates.order_units u"
		"         JOIN certificates.order_lines l ON l.organization_id = u.organization_id AND l.order_ref = u.order_ref AND l.line_id = u.line_id"
		"         JOIN certificates.pools p ON p.organization_id = l.organization_id AND p.code = l.pool"
		"        WHERE u.organization_id = b.organization_id AND u.order_ref = b.order_ref AND u.state = 'blocked' AND p.state IN ('open', 'low'))"
		" ORDER BY b.created_at LIMIT " CppAsString2(BATCH) " FOR UPDATE SKIP LOCKED", 1, {UUIDARRAYOID}
	};
	static Aside aside;
	Batch		batch = {.what = "order",.change = ask_again};
	Datum		arg = aside_array(&aside);
	bool		more;

	bo_spi_begin();
	collect(&batch, &due, &arg, true);
	more = change_all(&batch, &aside);
	bo_spi_end();
	return more;
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
