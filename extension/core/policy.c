/*
 * policy.c
 *		What the planner knows of backoffice.of_current_organization(), the
 *		function that tenants' policies consist of.
 *
 * A policy "organization_id = current_organization()" is an equality, and
 * the planner joins equalities of one column: with "organization_id = $1" in
 * the query it becomes "$1 = current_organization()", a one-time filter in a
 * Result node above the scan, which copies each row (about a fifth of a scan of
 * narrow rows).  A function of the column stays in the scan, as a filter.
 *
 * To the planner a function is opaque, so this tells it more.  A query that
 * names its organization gets the plan and the estimates that it would have without
 * the policy: the two conditions are one, and counting it twice would make large
 * organizations look small.  In a query that does not, the function is the equality
 * after all: exactly so for an index, and for estimates.
 */
#include "core/core.h"

#include "access/stratnum.h"
#include "catalog/pg_am.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(backoffice_of_current_organization_support);

/* A call of the function without arguments that stands beside the one we support, or NULL while it does not exist. */
static Node *
current_organization_call(Oid beside)
{
	oidvector  *no_arguments = buildoidvector(NULL, 0);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("current_organization"),
										   PointerGetDatum(no_arguments), ObjectIdGetDatum(get_func_namespace(beside)));

	if (!OidIsValid(function))
		return NULL;
	return (Node *) makeFuncExpr(function, UUIDOID, NIL, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/*
 * A policy as a second condition on an index makes the planner think its scan
 * cheaper by the organization's share of the table.  From this share on that
 * does not change which scan is best; a large scan is faster without a filter.
 */
#define LARGE_SHARE	0.1

/* The query's own "column = something known before the scan", or NULL. */
static RestrictInfo *
naming_clause(const RelOptInfo *rel, const Node *column)
{
	Oid			equality = lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR)->eq_opr;
	ListCell   *lc;

	foreach(lc, rel->baserestrictinfo)
	{
		RestrictInfo *condition = lfirst_node(RestrictInfo, lc);
		const OpExpr *clause = (const OpExpr *) condition->clause;
		Node	   *other;

		if (!IsA(clause, OpExpr) || clause->opno != equality)
			continue;
		if (equal(linitial(clause->args), column))
			other = lsecond(clause->args);
		else if (equal(lsecond(clause->args), column))
			other = linitial(clause->args);
		else
			continue;
		if (is_pseudo_constant_clause(other))
			return condition;
	}
	return NULL;
}

/* column = current_organization(): the same as the function, so an index scan does not call it as well. */
static List *
index_condition(SupportRequestIndexCondition *request)
{
	FuncExpr   *call = (FuncExpr *) request->node;
	RestrictInfo *naming;
	Node	   *organization;
	StrategyNumber strategy;
	Oid			operator;

	if (!IsA(call, FuncExpr) || request->indexarg != 0)
		return NIL;
	naming = naming_clause(request->index->rel, linitial(call->args));
	if (naming != NULL && clause_selectivity(request->root, (Node *) naming, 0, JOIN_INNER, NULL) < LARGE_SHARE)
		return NIL;
	if (request->index->relam == BTREE_AM_OID)
		strategy = BTEqualStrategyNumber;
	else if (request->index->relam == HASH_AM_OID)
		strategy = HTEqualStrategyNumber;
	else
		return NIL;
	operator = get_opfamily_member(request->opfamily, UUIDOID, UUIDOID, strategy);
	organization = current_organization_call(request->funcid);
	if (!OidIsValid(operator) || organization == NULL)
		return NIL;
	request->lossy = false;
	return list_make1(make_opclause(operator, BOOLOID, false, (Expr *) linitial(call->args), (Expr *) organization,
									InvalidOid, InvalidOid));
}

/* The relation that a column is of, or NULL for anything else. */
static RelOptInfo *
relation_of(PlannerInfo *root, const Node *column)
{
	const Var  *var = (const Var *) column;

	if (!IsA(var, Var) || var->varlevelsup > 0 || var->varno <= 0 || var->varno >= root->simple_rel_array_size)
		return NULL;
	return root->simple_rel_array[var->varno];
}

static bool
selectivity(SupportRequestSelectivity *request)
{
	Node	   *column = linitial(request->args);
	Node	   *organization = current_organization_call(request->funcid);
	RelOptInfo *rel = relation_of(request->root, column);

	if (request->is_join || organization == NULL)
		return false;
	if (rel != NULL && naming_clause(rel, column) != NULL)
		request->selectivity = 1.0;
	else
		request->selectivity = restriction_selectivity(request->root, lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR)->eq_opr,
													   list_make2(column, organization), InvalidOid, request->varRelid);
	return true;
}

Datum
backoffice_of_current_organization_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	void	   *answer = NULL;

	if (IsA(request, SupportRequestIndexCondition))
		answer = index_condition((SupportRequestIndexCondition *) request);
	else if (IsA(request, SupportRequestSelectivity) && selectivity((SupportRequestSelectivity *) request))
		answer = request;
	PG_RETURN_POINTER(answer);
}
