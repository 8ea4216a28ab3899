/*
 * release.c
 *		Reservations given back to the pool.
 *
 * A certificate that returns gets a new slot behind all others, so that the
 * cursor comes to it.  The slot's number is counted in pool_slots, which a
 * release does not wait for: where somebody else has the row locked (an import,
 * the keeper), the certificate stays where it is, and the keeper moves it.
 */
#include "certificates/release.h"

#include "access/access.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "certificates/allocator.h"
#include "certificates/certificates.h"
#include "certificates/level.h"
#include "certificates/pools.h"
#include "certificates/rows.h"
#include "core/principal.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_release_sql);

#define LOCK_ROW \
	"SELECT state, disclosed_at IS NOT NULL, pool_id, hold_until FROM certificates.certificates " \
	"WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE"

static BoPlan lock_plan = {LOCK_ROW, 2, {UUIDOID, UUIDOID}};
static BoPlan try_lock_plan = {LOCK_ROW " SKIP LOCKED", 2, {UUIDOID, UUIDOID}};

static BoPlan exists_plan = {
	"SELECT FROM certificates.certificates WHERE organization_id = $1 AND id = $2",
	2, {UUIDOID, UUIDOID}
};

static BoPlan void_plan = {
	"UPDATE certificates.certificates SET state = 'voided', hold_until = NULL WHERE organization_id = $1 AND id = $2",
	2, {UUIDOID, UUIDOID}
};

/* Two statements: the first does not wait. */
static BoPlan lock_pool_plan = {
	"SELECT FROM certificates.pool_slots WHERE organization_id = $1 AND pool_id = $2 FOR NO KEY UPDATE SKIP LOCKED",
	2, {UUIDOID, UUIDOID}
};

static BoPlan last_slot_plan = {
	"UPDATE certificates.pool_slots SET next_slot = next_slot + 1 WHERE organization_id = $1 AND pool_id = $2 RETURNING next_slot - 1",
	2, {UUIDOID, UUIDOID}
};

static BoPlan release_plan = {
	"UPDATE certificates.certificates SET state = 'available', slot_no = coalesce($3, slot_no), hold_until = NULL, channel = NULL, "
	"    order_ref = NULL, order_line = NULL, client_ref = NULL, payment_ref = NULL "
	"WHERE organization_id = $1 AND id = $2 RETURNING slot_no",
	3, {UUIDOID, UUIDOID, INT8OID}
};

static BoPlan move_slot_plan = {
	"UPDATE certificates.certificates SET slot_no = $3 WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, INT8OID}
};

/* A slot behind all others; 0: the pool's slots are busy.  Within SPI, as the kernel. */
static int64
last_slot(const pg_uuid_t *organization, const pg_uuid_t *pool)
{
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(pool)};

	/* Under an old snapshot slots that changed since would be an error: leave it to the keeper. */
	if (IsolationUsesXactSnapshot())
		return 0;
	if (bo_spi_run(&lock_pool_plan, args, NULL, 1) == 0)
		return 0;
	bo_spi_run(&last_slot_plan, args, NULL, 0);
	return bo_spi_int64(0, 1);
}

/* Within SPI, the row locked by us. */
static ReleaseResult
give_back(const pg_uuid_t *organization, const pg_uuid_t *id, const pg_uuid_t *pool, bool disclosed)
{
	Datum		args[3] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};
	char		nulls[3] = {' ', ' ', ' '};
	int64		slot;

	if (disclosed)
	{
		bo_spi_run(&void_plan, args, NULL, 0);
		return RELEASE_VOIDED;
	}
	slot = last_slot(organization, pool);
	args[2] = Int64GetDatum(slot);
	if (slot == 0)
		nulls[2] = 'n';
	if (bo_spi_run(&release_plan, args, nulls, 0) != 1)
		elog(ERROR, "a locked certificate is gone");
	/* The row is written by now: its event was emitted before that, too early for those who ask the rows (ask.c). */
	if (slot == 0)
		allocator_released(organization, pool, bo_spi_int64(0, 1));
	return RELEASED;
}

ReleaseResult
certificates_release(const pg_uuid_t *organization, const pg_uuid_t *id, const char *reason, const char *status,
					 TimestampTz expired_by, bool wait, char **state)
{
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};
	MemoryContext caller = CurrentMemoryContext;
	BoUser		user = bo_user_kernel();
	ReleaseResult result;
	pg_uuid_t	pool;

	bo_spi_begin();
	if (bo_spi_run(wait ? &lock_plan : &try_lock_plan, args, NULL, 1) == 0)
		result = !wait && bo_spi_run(&exists_plan, args, NULL, 1) > 0 ? RELEASE_BUSY : RELEASE_NOT_FOUND;
	else
	{
		bool		disclosed = bo_spi_bool(0, 2);
		bool		isnull;
		Datum		hold_until = bo_spi_datum(0, 4, &isnull);

		*state = MemoryContextStrdup(caller, bo_spi_text(0, 1));
		pool = bo_spi_uuid(0, 3);
		if (strcmp(*state, "available") == 0 || strcmp(*state, "voided") == 0)
			result = RELEASE_ALREADY;
		else if (strcmp(*state, "reserved") != 0 ||
				 (expired_by != 0 && (isnull || DatumGetTimestampTz(hold_until) > expired_by)))
			result = RELEASE_NOT_RESERVED;
		else
		{
			certificates_step_note(status, reason);
			result = give_back(organization, id, &pool, disclosed);
			certificates_step_note(NULL, NULL);
		}
	}
	bo_spi_end();
	bo_user_restore(user);
	if (result == RELEASED)
	{
		const Pool *its = pool_by_id(organization, &pool);

		if (its != NULL)
			level_raised(its);
	}
	return result;
}

bool
certificates_return_slot(const pg_uuid_t *organization, const pg_uuid_t *pool, const pg_uuid_t *id)
{
	Datum		args[3] = {UUIDPGetDatum(organization), UUIDPGetDatum(id)};
	BoUser		user = bo_user_kernel();
	bool		moved = false;

	bo_spi_begin();
	if (bo_spi_run(&try_lock_plan, args, NULL, 1) > 0 && strcmp(bo_spi_text(0, 1), "available") == 0)
	{
		int64		slot = last_slot(organization, pool);

		args[2] = Int64GetDatum(slot);
		moved = slot > 0 && bo_spi_run(&move_slot_plan, args, NULL, 0) == 1;
	}
	bo_spi_end();
	bo_user_restore(user);
	return moved;
}

/* release(id uuid, reason text) */
Datum
certificates_release_sql(PG_FUNCTION_ARGS)
{
	pg_uuid_t	organization = principal_require()->organization_id;
	pg_uuid_t  *id = certificates_arg_id(fcinfo, 0);
	char	   *reason = certificates_arg(fcinfo, 1, "reason", MAX_REASON_BYTES, false);
	char	   *state = NULL;

	access_require("certificates.release");
	switch (certificates_release(&organization, id, reason, NULL, 0, true, &state))
	{
		case RELEASED:
			PG_RETURN_TEXT_P(cstring_to_text("available"));
		case RELEASE_VOIDED:
			PG_RETURN_TEXT_P(cstring_to_text("voided"));
		case RELEASE_ALREADY:
			PG_RETURN_TEXT_P(cstring_to_text(state));
		case RELEASE_NOT_RESERVED:
			ereport(ERROR,
					(errcode(BO_CONFLICT),
					 errmsg("certificate %s is not reserved", bo_uuid_text(id)),
					 bo_code("not_reserved", "it is %s", state),
					 errhint("A certificate that was issued is refunded or voided, not released.")));
			break;
		default:
			certificate_not_found(id);
	}
	PG_RETURN_NULL();
}
