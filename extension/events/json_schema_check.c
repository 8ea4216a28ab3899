/*
 * json_schema_check.c
 *		Checks a payload against a compiled schema.
 *
 * The first violation is kept: where in the payload (a JSON pointer), which
 * keyword, what was expected and what kind of thing was found.  Values of the
 * payload are never printed: they may be secrets.  Under anyOf, oneOf, not and
 * if a mismatch is an answer and not a violation, so those look quietly.
 */
#include "events/json_schema_node.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define NAME_SHOWN_MAX 40

/* What an honest schema never needs: where branches at each level double the work, somebody's deep payload would hold us for ever. */
#define MAX_STEPS 1000000
#define MAX_STEPS_PER_BYTE 64

/* Where we are in the payload: a chain on the C stack. */
typedef struct Step
{
	const struct Step *parent;
	const char *name;			/* NULL: an element */
	int			length;
	int			index;
} Step;

typedef struct Check
{
	int			quiet;			/* inside anyOf, oneOf, not, if */
	int			depth;
	int64		steps;			/* schemas that values were held against */
	int64		max_steps;
	char	   *pointer;		/* of the violation */
	const char *keyword;
	const char *place;			/* in the schema */
	char	   *expected;
	const char *found;
} Check;

static bool check_node(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at);

/* ---- messages ---- */

static const char *
kind_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvBool:
			return "a boolean";
		case jbvNumeric:
			return "a number";
		case jbvString:
			return "a string";
		case jbvBinary:
			return JsonContainerIsArray(value->val.binary.data) ? "an array" : "an object";
		default:
			return "something else";
	}
}

static void
append_step(StringInfo pointer, const Step *at)
{
	if (at == NULL)
		return;
	append_step(pointer, at->parent);
	if (at->name == NULL)
		appendStringInfo(pointer, "/%d", at->index);
	else
	{
		int			shown = pg_mbcliplen(at->name, at->length, NAME_SHOWN_MAX);

		appendStringInfoChar(pointer, '/');
		for (int i = 0; i < shown; i++)
		{
			if (at->name[i] == '~')
				appendStringInfoString(pointer, "~0");
			else if (at->name[i] == '/')
				appendStringInfoString(pointer, "~1");
			else
				appendStringInfoChar(pointer, at->name[i]);
		}
		if (shown < at->length)
			appendStringInfoString(pointer, "...");
	}
}

static bool violated(Check *check, const SchemaNode *node, const Step *at, const char *keyword,
					 const char *found, const char *expected,...) pg_attribute_printf(6, 7);

/* Always false, so that checks can return it. */
static bool
violated(Check *check, const SchemaNode *node, const Step *at, const char *keyword,
		 const char *found, const char *expected,...)
{
	StringInfoData pointer;
	char		text[256];
	va_list		args;

	if (check->quiet > 0 || check->pointer != NULL)
		return false;
	va_start(args, expected);
	vsnprintf(text, sizeof(text), expected, args);
	va_end(args);
	text[pg_mbcliplen(text, strlen(text), sizeof(text) - 1)] = '\0';

	initStringInfo(&pointer);
	append_step(&pointer, at);
	check->pointer = pointer.data;
	check->keyword = keyword;
	check->place = node->pointer;
	check->expected = pstrdup(text);
	check->found = found;
	return false;
}

/* ---- equality ---- */

int
schema_compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/* A total order of JSON values, in which numbers compare by value. */
static int
compare_values(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	switch (a->type)
	{
		case jbvNull:
			return 0;
		case jbvBool:
			return (int) a->val.boolean - (int) b->val.boolean;
		case jbvNumeric:
			return schema_compare_numbers(a->val.numeric, b->val.numeric);
		case jbvString:
			if (a->val.string.len != b->val.string.len)
				return a->val.string.len < b->val.string.len ? -1 : 1;
			return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
		case jbvBinary:
			return compareJsonbContainers(a->val.binary.data, b->val.binary.data);
		default:
			elog(ERROR, "unexpected kind of JSON value");
	}
}

static int
compare_for_qsort(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return compare_values(a, b);
}

/* ---- scalars ---- */

static bool
is_integer(Numeric number)
{
	Datum		whole = DirectFunctionCall2(numeric_trunc, NumericGetDatum(number), Int32GetDatum(0));

	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, whole, NumericGetDatum(number))) == 0;
}

static bool
check_type(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	bool		ok;

	switch (value->type)
	{
		case jbvNull:
			ok = node->types & SCHEMA_TYPE_NULL;
			break;
		case jbvBool:
			ok = node->types & SCHEMA_TYPE_BOOLEAN;
			break;
		case jbvString:
			ok = node->types & SCHEMA_TYPE_STRING;
			break;
		case jbvNumeric:
			ok = (node->types & SCHEMA_TYPE_NUMBER) ||
				((node->types & SCHEMA_TYPE_INTEGER) && is_integer(value->val.numeric));
			break;
		default:
			ok = node->types & (JsonContainerIsArray(value->val.binary.data) ? SCHEMA_TYPE_ARRAY : SCHEMA_TYPE_OBJECT);
			break;
	}
	return ok || violated(check, node, at, "type", kind_of(value), "%s", node->types_text);
}

static bool
check_equality(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	if (node->has_const && compare_values(&node->constant, value) != 0)
		return violated(check, node, at, "const", kind_of(value), "the constant of the schema");
	if (node->has_enum)
	{
		for (int i = 0; i < node->enum_count; i++)
			if (compare_values(&node->enum_values[i], value) == 0)
				return true;
		return violated(check, node, at, "enum", kind_of(value), "one of %d values", node->enum_count);
	}
	return true;
}

static char *
print_number(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
}

static bool
check_number(Check *check, const SchemaNode *node, Numeric number, const Step *at)
{
	const char *other = "another number";

	if (node->minimum && schema_compare_numbers(number, node->minimum) < 0)
		return violated(check, node, at, "minimum", other, "at least %s", print_number(node->minimum));
	if (node->maximum && schema_compare_numbers(number, node->maximum) > 0)
		return violated(check, node, at, "maximum", other, "at most %s", print_number(node->maximum));
	if (node->exclusive_minimum && schema_compare_numbers(number, node->exclusive_minimum) <= 0)
		return violated(check, node, at, "exclusiveMinimum", other, "more than %s", print_number(node->exclusive_minimum));
	if (node->exclusive_maximum && schema_compare_numbers(number, node->exclusive_maximum) >= 0)
		return violated(check, node, at, "exclusiveMaximum", other, "less than %s", print_number(node->exclusive_maximum));
	if (node->multiple_of)
	{
		Datum		rest = DirectFunctionCall2(numeric_mod, NumericGetDatum(number), NumericGetDatum(node->multiple_of));

		if (schema_compare_numbers(DatumGetNumeric(rest), int64_to_numeric(0)) != 0)
			return violated(check, node, at, "multipleOf", other, "a multiple of %s", print_number(node->multiple_of));
	}
	return true;
}

static bool
matches(text *pattern, const char *string, int length)
{
	return RE_compile_and_execute(pattern, (char *) string, length, REG_ADVANCED, C_COLLATION_OID, 0, NULL);
}

static bool
check_string(Check *check, const SchemaNode *node, const char *string, int length, const Step *at)
{
	if (node->min_length > 0 || node->max_length >= 0)
	{
		int			characters = pg_mbstrlen_with_len(string, length);

		if (characters < node->min_length)
			return violated(check, node, at, "minLength", "a shorter string", "at least %d characters", (int) node->min_length);
		if (node->max_length >= 0 && characters > node->max_length)
			return violated(check, node, at, "maxLength", "a longer string", "at most %d characters", (int) node->max_length);
	}
	if (node->pattern && !matches(node->pattern, string, length))
		return violated(check, node, at, "pattern", "another string", "a match of %s", text_to_cstring(node->pattern));
	if (node->format != FORMAT_ANY && !schema_format_matches(node->format, string, length))
		return violated(check, node, at, "format", "another string", "%s", node->format_text);
	return true;
}

/* ---- arrays ---- */

static bool
check_unique(Check *check, const SchemaNode *node, const JsonbValue *values, int count, const Step *at)
{
	JsonbValue *sorted;
	bool		equal = false;

	if (count < 2)
		return true;
	sorted = palloc_extended(mul_size(count, sizeof(JsonbValue)), MCXT_ALLOC_HUGE);
	memcpy(sorted, values, sizeof(JsonbValue) * count);
	qsort(sorted, count, sizeof(JsonbValue), compare_for_qsort);
	for (int i = 1; i < count && !equal; i++)
		equal = compare_values(&sorted[i - 1], &sorted[i]) == 0;
	pfree(sorted);
	return !equal || violated(check, node, at, "uniqueItems", "equal elements", "elements that differ");
}

static bool
check_elements(Check *check, const SchemaNode *node, const JsonbValue *values, int count, const Step *at)
{
	for (int i = 0; i < count; i++)
	{
		SchemaNode *child = i < node->prefix_items.count ? node->prefix_items.items[i] : node->items;
		Step		step = {.parent = at, .index = i};

		if (child && !check_node(check, child, &values[i], &step))
			return false;
	}
	return !node->unique_items || check_unique(check, node, values, count, at);
}

static bool
check_array(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	int			count = JsonContainerSize(value->val.binary.data);
	JsonbIterator *it;
	JsonbValue *values;
	JsonbValue	item;
	int			n = 0;
	bool		ok;

	if (count < node->min_items)
		return violated(check, node, at, "minItems", "fewer elements", "at least %d elements", (int) node->min_items);
	if (node->max_items >= 0 && count > node->max_items)
		return violated(check, node, at, "maxItems", "more elements", "at most %d elements", (int) node->max_items);
	if (!node->items && node->prefix_items.count == 0 && !node->unique_items)
		return true;

	values = palloc_extended(mul_size(Max(count, 1), sizeof(JsonbValue)), MCXT_ALLOC_HUGE);
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &item, true);
	while (n < count && JsonbIteratorNext(&it, &item, true) == WJB_ELEM)
		values[n++] = item;

	/* A mismatch may be one of very many under anyOf: what it took is given back, too. */
	ok = check_elements(check, node, values, n, at);
	pfree(values);
	return ok;
}

/* ---- objects ---- */

static const SchemaMember *
find_member(const SchemaMembers *members, const char *name, int length)
{
	int			low = 0,
				high = members->count - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		const SchemaMember *member = &members->items[middle];
		int			order = member->name.length != length ? (member->name.length < length ? -1 : 1) :
			memcmp(member->name.data, name, length);

		if (order == 0)
			return member;
		if (order < 0)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

static bool
check_member(Check *check, const SchemaNode *node, const JsonbValue *name, const JsonbValue *value, const Step *at)
{
	const char *data = name->val.string.val;
	int			length = name->val.string.len;
	Step		step = {.parent = at, .name = data, .length = length};
	const SchemaMember *member = find_member(&node->properties, data, length);
	bool		known = member != NULL;

	if (member && !check_node(check, member->node, value, &step))
		return false;
	for (int i = 0; i < node->pattern_properties.count; i++)
	{
		member = &node->pattern_properties.items[i];
		if (!matches(member->pattern, data, length))
			continue;
		known = true;
		if (!check_node(check, member->node, value, &step))
			return false;
	}
	if (!known && node->additional_properties)
	{
		if (node->additional_properties->refuses_all)
			return violated(check, node, &step, "additionalProperties", "an unknown property", "only the properties of the schema");
		if (!check_node(check, node->additional_properties, value, &step))
			return false;
	}
	return node->property_names == NULL || check_node(check, node->property_names, name, &step);
}

static bool
check_object(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	JsonbContainer *container = value->val.binary.data;
	int			count = JsonContainerSize(container);
	JsonbIterator *it;
	JsonbValue	name,
				member;

	for (int i = 0; i < node->required_count; i++)
		if (getKeyJsonValueFromContainer(container, node->required[i].data, node->required[i].length, &member) == NULL)
			return violated(check, node, at, "required", "nothing", "property \"%s\"", bo_clipped(node->required[i].data, 100));
	if (count < node->min_properties)
		return violated(check, node, at, "minProperties", "fewer properties", "at least %d properties", (int) node->min_properties);
	if (node->max_properties >= 0 && count > node->max_properties)
		return violated(check, node, at, "maxProperties", "more properties", "at most %d properties", (int) node->max_properties);
	if (node->properties.count == 0 && node->pattern_properties.count == 0 && !node->additional_properties && !node->property_names)
		return true;

	it = JsonbIteratorInit(container);
	(void) JsonbIteratorNext(&it, &name, true);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &member, true);
		if (!check_member(check, node, &name, &member, at))
			return false;
	}
	return true;
}

/* ---- combinations ---- */

static bool
matches_quietly(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	bool		ok;

	check->quiet++;
	ok = check_node(check, node, value, at);
	check->quiet--;
	return ok;
}

static int
count_matches(Check *check, const SchemaNodes *nodes, const JsonbValue *value, const Step *at, int enough)
{
	int			count = 0;

	for (int i = 0; i < nodes->count && count < enough; i++)
		count += matches_quietly(check, nodes->items[i], value, at);
	return count;
}

static bool
check_combinations(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	for (int i = 0; i < node->all_of.count; i++)
		if (!check_node(check, node->all_of.items[i], value, at))
			return false;
	if (node->any_of.count > 0 && count_matches(check, &node->any_of, value, at, 1) == 0)
		return violated(check, node, at, "anyOf", "a match of none", "a match of one or more of %d schemas", node->any_of.count);
	if (node->one_of.count > 0)
	{
		int			count = count_matches(check, &node->one_of, value, at, 2);

		if (count != 1)
			return violated(check, node, at, "oneOf", count ? "a match of several" : "a match of none",
							"a match of exactly one of %d schemas", node->one_of.count);
	}
	if (node->not && matches_quietly(check, node->not, value, at))
		return violated(check, node, at, "not", "a match", "no match of the schema");
	if (node->if_ && (node->then || node->else_))
	{
		const SchemaNode *branch = matches_quietly(check, node->if_, value, at) ? node->then : node->else_;

		if (branch && !check_node(check, branch, value, at))
			return false;
	}
	return true;
}

static bool
check_by_kind(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	switch (value->type)
	{
		case jbvNumeric:
			return check_number(check, node, value->val.numeric, at);
		case jbvString:
			return check_string(check, node, value->val.string.val, value->val.string.len, at);
		case jbvBinary:
			return JsonContainerIsArray(value->val.binary.data) ?
				check_array(check, node, value, at) : check_object(check, node, value, at);
		default:
			return true;
	}
}

static bool
check_node(Check *check, const SchemaNode *node, const JsonbValue *value, const Step *at)
{
	bool		ok;

	CHECK_FOR_INTERRUPTS();
	if (node->refuses_all)
		return violated(check, node, at, "false", kind_of(value), "nothing here");
	if (check->depth >= CHECK_MAX_DEPTH)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the payload cannot be checked against its schema"),
				 bo_code("schema_too_deep", "more than %d levels, or a $ref that leads to itself, at %s", CHECK_MAX_DEPTH, node->pointer)));
	if (check->steps++ >= check->max_steps)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the payload cannot be checked against its schema"),
				 bo_code("schema_too_costly", "after %lld steps there is no end of it, at %s", (long long) check->steps, node->pointer),
				 errhint("Schemas that try several branches at each level take twice as long with each level of the payload.")));
	check->depth++;
	ok = (node->types == 0 || check_type(check, node, value, at)) &&
		check_equality(check, node, value, at) &&
		check_by_kind(check, node, value, at) &&
		(node->ref == NULL || check_node(check, node->ref, value, at)) &&
		check_combinations(check, node, value, at);
	check->depth--;
	return ok;
}

void
json_schema_check(const JsonSchema *schema, Jsonb *payload, const char *topic, const char *type)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "backoffice json schema check", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Check		check = {.max_steps = MAX_STEPS + (int64) VARSIZE_ANY(payload) * MAX_STEPS_PER_BYTE};
	JsonbValue	root;

	root = json_root_value(payload);
	if (!check_node(&check, schema->root, &root, NULL))
		ereport(ERROR,
				(errcode(BO_UNPROCESSABLE),
				 errmsg("the payload does not match the schema of topic \"%s\"", topic),
				 bo_code("schema_violation", "event type \"%s\", at \"%s\": %s (%s): expected %s, found %s",
						 bo_clipped(type, 64), check.pointer, check.keyword, check.place, check.expected, check.found),
				 errhint("Correct the payload, or the schema with events.define_schema().")));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
