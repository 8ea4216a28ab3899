/*
 * log.c
 *		Leaves, era and sequence of the event log.
 *
 * Emit and the reader open leaves by themselves and never the partitioned
 * parents: so they take no locks there, and making a leaf ahead or dropping an
 * old one never waits for them nor they for it.
 */
#include "events/log.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "commands/extension.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

typedef struct Leaf
{
	int64		number;
	Oid			oid;
} Leaf;

struct LeafSet
{
	const char *name;			/* the parent; leaves are <name>_<number> */
	int			columns;
	Oid			parent;
	bool		valid;
	int			nleaves;
	int			allocated;
	Leaf	   *leaves;			/* by number */
};

LeafSet		log_leaves = {.name = "log",.columns = LOG_COLUMNS};
LeafSet		tick_leaves = {.name = "ticks",.columns = TICKS_COLUMNS};

static Oid	sequence;
static uint64 generation;		/* counts invalidations of anything cached here */

static void
forget_set(LeafSet *set, Oid relid)
{
	if (relid == InvalidOid || relid == set->parent)
	{
		set->valid = false;
		generation++;
	}
}

static void
forget(Datum arg, Oid relid)
{
	forget_set(&log_leaves, relid);
	forget_set(&tick_leaves, relid);
	if (relid == InvalidOid || relid == sequence)
		sequence = InvalidOid;
}

static void
watch(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		registered = true;
	}
}

Oid
events_table(const char *name, bool missing_ok)
{
	Oid			namespace = get_namespace_oid("events", true);
	Oid			oid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;

	if (!OidIsValid(oid) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table events.%s does not exist", name),
				 bo_code("not_installed", "extension backoffice is not in this database, or damaged"),
				 errhint("Run CREATE EXTENSION backoffice.")));
	return oid;
}

bool
log_exists(void)
{
	return OidIsValid(get_extension_oid("backoffice", true)) && OidIsValid(events_table("log", true));
}

static int
compare_leaves(const void *a, const void *b)
{
	int64		left = ((const Leaf *) a)->number;
	int64		right = ((const Leaf *) b)->number;

	return left < right ? -1 : left > right;
}

static void
add_leaf(LeafSet *set, Oid oid)
{
	size_t		prefix = strlen(set->name);
	char	   *name = get_rel_name(oid);
	char	   *end;
	int64		number;

	/* Dropped since the list was read, or somebody else's partition. */
	if (name == NULL || strncmp(name, set->name, prefix) != 0 || name[prefix] != '_')
		return;
	number = strtoi64(name + prefix + 1, &end, 10);
	if (end == name + prefix + 1 || *end != '\0' || number < 0)
		return;

	if (set->nleaves == set->allocated)
	{
		int			more = set->allocated ? set->allocated * 2 : 16;

		set->leaves = set->leaves ? repalloc(set->leaves, more * sizeof(Leaf))
			: MemoryContextAlloc(TopMemoryContext, more * sizeof(Leaf));
		set->allocated = more;
	}
	set->leaves[set->nleaves++] = (Leaf) {number, oid};
}

static void
load(LeafSet *set)
{
	uint64		before;

	watch();
	do
	{
		ListCell   *lc;

		before = generation;
		set->parent = events_table(set->name, false);
		set->nleaves = 0;
		foreach(lc, find_inheritance_children(set->parent, NoLock))
			add_leaf(set, lfirst_oid(lc));
		set->valid = true;
	} while (before != generation);
	qsort(set->leaves, set->nleaves, sizeof(Leaf), compare_leaves);
}

Oid
leaf_find(LeafSet *set, int64 number)
{
	Leaf		key = {number, InvalidOid};
	Leaf	   *found;

	if (!set->valid)
		load(set);
	if (set->nleaves == 0)
		return InvalidOid;

	/* The last but two or three is the one that is written to. */
	for (int i = set->nleaves - 1; i >= 0 && i >= set->nleaves - 4; i--)
	{
		if (set->leaves[i].number == number)
			return set->leaves[i].oid;
	}
	found = bsearch(&key, set->leaves, set->nleaves, sizeof(Leaf), compare_leaves);
	return found ? found->oid : InvalidOid;
}

bool
leaf_range(LeafSet *set, int64 *first, int64 *last)
{
	if (!set->valid)
		load(set);
	if (set->nleaves == 0)
		return false;
	*first = set->leaves[0].number;
	*last = set->leaves[set->nleaves - 1].number;
	return true;
}

Relation
leaf_open(LeafSet *set, int64 number, LOCKMODE mode)
{
	Oid			oid = leaf_find(set, number);
	Relation	leaf = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (leaf != NULL && RelationGetDescr(leaf)->natts != set->columns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table events.%s has %d columns, the library knows %d",
						RelationGetRelationName(leaf), RelationGetDescr(leaf)->natts, set->columns),
				 bo_code("version_mismatch", "library and extension are of different versions"),
				 errhint("Run ALTER EXTENSION backoffice UPDATE, and restart the server if the library was replaced.")));
	return leaf;
}

uint64
leaf_generation(void)
{
	return generation;
}

Oid
leaf_index(Relation leaf, AttrNumber first_column)
{
	List	   *indexes = RelationGetIndexList(leaf);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Oid			oid = lfirst_oid(lc);

		Relation	index = index_open(oid, AccessShareLock);
		bool		fits = index->rd_index->indisvalid && index->rd_index->indkey.values[0] == first_column;

		index_close(index, NoLock);
		if (fits)
			return oid;
	}
	ereport(ERROR,
			(errcode(BO_UNAVAILABLE),
			 errmsg("table events.%s has no usable index", RelationGetRelationName(leaf)),
			 bo_code("log_incomplete", "a dump is being restored, or the index was dropped"),
			 errhint("Wait for the end of the restore.")));
}

int64
log_era(void)
{
	static int64 era = 0;
	static Oid	of = InvalidOid;

	if (of != MyDatabaseId)
	{
		struct
		{
			uint64		system;
			uint64		database;
		}			space = {GetSystemIdentifier(), MyDatabaseId};

		era = (int64) hash_bytes_extended((const unsigned char *) &space, sizeof(space), 0);
		of = MyDatabaseId;
	}
	return era;
}

Oid
log_sequence(void)
{
	if (!OidIsValid(sequence))
	{
		watch();
		sequence = events_table("log_seq", false);
	}
	return sequence;
}

int64
log_sequence_value(void)
{
	FmgrInfo	function;
	LOCAL_FCINFO(call, 1);
	Datum		value;

	/* Called by hand because it answers NULL for a sequence that was never used. */
	fmgr_info(F_PG_SEQUENCE_LAST_VALUE, &function);
	InitFunctionCallInfoData(*call, &function, 1, InvalidOid, NULL, NULL);
	call->args[0].value = ObjectIdGetDatum(log_sequence());
	call->args[0].isnull = false;
	value = FunctionCallInvoke(call);
	return call->isnull ? 0 : DatumGetInt64(value);
}
