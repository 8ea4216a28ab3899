/*
 * call.c
 *		api_call(): every function of the schema api.
 */
#include "api/api.h"

#include "access/access.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/principal.h"
#include "core/request.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(api_call);

static ApiOperation *const lists[] = {api_auth, api_certificates, api_administration, api_system};

/* ---- which one ---- */

static ApiOperation *
find_operation(Oid function)
{
	char	   *name = get_func_name(function);

	for (int i = 0; i < lengthof(lists); i++)
		for (ApiOperation *operation = lists[i]; operation->name != NULL; operation++)
			if (name != NULL && strcmp(operation->name, name) == 0)
				return operation;
	elog(ERROR, "no operation is called \"%s\"", name ? name : "");
}

/* The statement's parameters are the function's arguments. */
static void
fill_plan(BoPlan *plan, Oid function)
{
	Oid		   *types;
	int			count;

	if (plan->plan != NULL)
		return;
	(void) get_func_signature(function, &types, &count);
	Assert(count <= BO_PLAN_MAX_ARGS);
	memcpy(plan->argtypes, types, count * sizeof(Oid));
	plan->nargs = count;
}

static ApiOperation *
operation_of(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		ApiOperation *operation = find_operation(fcinfo->flinfo->fn_oid);

		fill_plan(&operation->plan, fcinfo->flinfo->fn_oid);
		fcinfo->flinfo->fn_extra = operation;
	}
	return fcinfo->flinfo->fn_extra;
}

/* ---- who may ---- */

static void
require_user(void)
{
	if (!principal_require()->has_user)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("only a user can do this"),
				 bo_code("user_only", "a service or a machine's key acts"),
				 errhint("Log in as a user.")));
}

static void
require_platform(void)
{
	if (!principal_require()->platform)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("only a platform administrator can do this"),
				 bo_code("platform_only", "it is about all organizations"),
				 errhint("A service makes somebody one: access.grant_platform_administrator().")));
}

static void
check_caller(const ApiOperation *operation)
{
	if (operation->permission == API_ANONYMOUS)
		return;
	if (strcmp(operation->permission, API_ANY_USER) == 0)
		require_user();
	else if (strcmp(operation->permission, API_PLATFORM) == 0)
		require_platform();
	else
		access_require(operation->permission);
}

/* ---- the work ---- */

static void
check_page(const ApiOperation *operation, FunctionCallInfo fcinfo)
{
	int			last = operation->plan.nargs - 1;

	if ((operation->flags & API_PAGED) &&
		(PG_ARGISNULL(last) || PG_GETARG_INT32(last) < 1 || PG_GETARG_INT32(last) > API_PAGE_MAX))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("max_items must be between 1 and %d", API_PAGE_MAX),
				 bo_code("bad_limit", "it is %s", PG_ARGISNULL(last) ? "null" : psprintf("%d", PG_GETARG_INT32(last))),
				 errhint("Leave it out to take the default.")));
}

static void
refuse_missing(const ApiOperation *operation)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("%s", operation->missing.what),
			 bo_code(operation->missing.code, "the organization has none with this name or id"),
			 errhint("Look for it in the list.")));
}

static Jsonb *
json_cell(int column, MemoryContext context)
{
	bool		isnull;
	Datum		value = bo_spi_datum(0, column, &isnull);
	MemoryContext spi;
	Jsonb	   *copy;

	if (isnull)
		return NULL;
	spi = MemoryContextSwitchTo(context);
	copy = DatumGetJsonbPCopy(value);
	MemoryContextSwitchTo(spi);
	return copy;
}

static void
run(ApiOperation *operation, FunctionCallInfo fcinfo, bool writes, ApiAnswer *answer)
{
	Datum		args[BO_PLAN_MAX_ARGS];
	char		nulls[BO_PLAN_MAX_ARGS];
	MemoryContext caller = CurrentMemoryContext;
	BoUser		user;
	uint64		rows;
	int			columns;

	for (int i = 0; i < operation->plan.nargs; i++)
	{
		args[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	user = bo_user_definer();
	bo_spi_begin();
	rows = writes ? bo_spi_run(&operation->plan, args, nulls, 1)
		: bo_spi_run_readonly(&operation->plan, args, nulls, 1);
	if (rows == 0 && operation->missing.code != NULL)
		refuse_missing(operation);
	if (rows == 0)
		elog(ERROR, "%s() has no answer", operation->name);
	columns = SPI_tuptable->tupdesc->natts;
	answer->body = json_cell(1, caller);
	answer->status = columns > 1 ? bo_spi_int32(0, 2) : 200;
	answer->headers = columns > 2 ? json_cell(3, caller) : NULL;
	bo_spi_end();
	bo_user_restore(user);
}

/* <any function of the schema api>(...) RETURNS jsonb */
Datum
api_call(PG_FUNCTION_ARGS)
{
	ApiOperation *operation = operation_of(fcinfo);
	bool		writes = func_volatile(fcinfo->flinfo->fn_oid) == PROVOLATILE_VOLATILE;
	ApiCall		call = {operation, fcinfo, NULL, NULL};
	ApiAnswer	answer = {0};

	if (writes)
		PreventCommandIfReadOnly(psprintf("%s()", operation->name));
	check_caller(operation);
	check_page(operation, fcinfo);
	if (writes && !(operation->flags & API_NO_KEY) && principal_get() != NULL)
	{
		call.key = bo_request_header("idempotency-key");
		call.scope = replay_scope(operation);
	}
	if (call.key == NULL)
		run(operation, fcinfo, writes, &answer);
	else if (replay_begin(&call, &answer))
	{
		run(operation, fcinfo, writes, &answer);
		replay_end(&call, &answer);
	}
	response_set(&answer);
	if (answer.body == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(answer.body);
}
