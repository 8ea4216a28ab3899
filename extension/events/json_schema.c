/*
 * json_schema.c
 *		Compiles a JSON Schema (draft 2020-12, a subset) into a tree of nodes.
 *
 * A keyword that is not in the table below is refused, with its place: a
 * schema never promises what is not checked.  $ref is resolved at the end
 * among all places where a schema stands, so recursion is a pointer back.
 */
#include "events/json_schema_node.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define POINTER_MAX 1024
#define MAX_LISTED 10000		/* members or elements of one keyword */

typedef struct Compiler
{
	HTAB	   *places;			/* pointer -> node */
	List	   *references;		/* nodes with a $ref */
	int			depth;
} Compiler;

typedef struct Place
{
	char		pointer[POINTER_MAX];
	SchemaNode *node;
} Place;

typedef void (*KeywordCompiler) (Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value);

static SchemaNode *compile_node(Compiler *compiler, const char *pointer, JsonbValue *value);

/* ---- small helpers ---- */

static void refuse(const SchemaNode *node, const char *keyword, const char *why) pg_attribute_noreturn();

static void
refuse(const SchemaNode *node, const char *keyword, const char *why)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("invalid JSON Schema"),
			 bo_code("invalid_schema", "keyword \"%s\" at %s: %s", bo_clipped(keyword, 64), bo_clipped(node->pointer, 200), why),
			 errhint("docs/events.md lists the keywords of draft 2020-12 that are supported.")));
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data);
}

static SchemaString
copy_string(const JsonbValue *value)
{
	return (SchemaString)
	{
		.data = pnstrdup(value->val.string.val, value->val.string.len),
		.length = value->val.string.len
	};
}

/* "#/a" and member "b/c" make "#/a/b~1c". */
static char *
child_pointer(const SchemaNode *node, const char *keyword, const char *member, int length)
{
	StringInfoData pointer;

	initStringInfo(&pointer);
	appendStringInfo(&pointer, "%s/%s", node->pointer, keyword);
	if (member)
	{
		appendStringInfoChar(&pointer, '/');
		for (int i = 0; i < length; i++)
		{
			if (member[i] == '~')
				appendStringInfoString(&pointer, "~0");
			else if (member[i] == '/')
				appendStringInfoString(&pointer, "~1");
			else
				appendStringInfoChar(&pointer, member[i]);
		}
	}
	if (pointer.len >= POINTER_MAX)
		refuse(node, keyword, "nested too deep");
	return pointer.data;
}

static int
listed_count(const SchemaNode *node, const char *keyword, const JsonbValue *value)
{
	int			count = JsonContainerSize(value->val.binary.data);

	if (count > MAX_LISTED)
		refuse(node, keyword, "too many entries");
	return count;
}

static text *
compile_pattern(const SchemaNode *node, const char *keyword, const JsonbValue *value)
{
	text	   *pattern;

	if (memchr(value->val.string.val, '\0', value->val.string.len) != NULL)
		refuse(node, keyword, "expected a regular expression");
	pattern = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	/* Errors here are PostgreSQL's own: invalid regular expression. */
	(void) RE_compile_and_cache(pattern, REG_ADVANCED, C_COLLATION_OID);
	return pattern;
}

/* ---- one function per shape of keyword ---- */

static void
annotation(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
}

static void
compile_dialect(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	const char *known = "https://json-schema.org/draft/2020-12/schema";

	if (value->type != jbvString || value->val.string.len != strlen(known) ||
		memcmp(value->val.string.val, known, strlen(known)) != 0)
		refuse(node, keyword, "only https://json-schema.org/draft/2020-12/schema is supported");
}

static void
compile_id(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	if (strcmp(node->pointer, "#") != 0)
		refuse(node, keyword, "supported at the root only, as an annotation");
}

static int
type_bit(const JsonbValue *value)
{
	static const struct
	{
		const char *name;
		int			bit;
	}			types[] = {
		{"null", SCHEMA_TYPE_NULL}, {"boolean", SCHEMA_TYPE_BOOLEAN}, {"object", SCHEMA_TYPE_OBJECT},
		{"array", SCHEMA_TYPE_ARRAY}, {"number", SCHEMA_TYPE_NUMBER}, {"integer", SCHEMA_TYPE_INTEGER},
		{"string", SCHEMA_TYPE_STRING}
	};

	for (int i = 0; value->type == jbvString && i < lengthof(types); i++)
		if (strlen(types[i].name) == value->val.string.len &&
			memcmp(types[i].name, value->val.string.val, value->val.string.len) == 0)
			return types[i].bit;
	return 0;
}

static void
compile_type(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	const char *expected = "expected null, boolean, object, array, number, integer, string or a list of these";
	StringInfoData names;

	initStringInfo(&names);
	if (is_array(value))
	{
		int			count = listed_count(node, keyword, value);

		for (int i = 0; i < count; i++)
		{
			JsonbValue *item = getIthJsonbValueFromContainer(value->val.binary.data, i);
			int			bit = type_bit(item);

			if (bit == 0 || (node->types & bit))
				refuse(node, keyword, expected);
			node->types |= bit;
			appendStringInfo(&names, "%s%.*s", i ? " or " : "", item->val.string.len, item->val.string.val);
		}
	}
	else
	{
		node->types = type_bit(value);
		if (node->types)
			appendBinaryStringInfo(&names, value->val.string.val, value->val.string.len);
	}
	if (node->types == 0)
		refuse(node, keyword, expected);
	node->types_text = names.data;
}

static void
compile_const(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	node->has_const = true;
	node->constant = *value;
}

static void
compile_enum(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	if (!is_array(value))
		refuse(node, keyword, "expected a list of values");
	node->has_enum = true;
	node->enum_count = listed_count(node, keyword, value);
	node->enum_values = palloc(sizeof(JsonbValue) * Max(node->enum_count, 1));
	for (int i = 0; i < node->enum_count; i++)
		node->enum_values[i] = *getIthJsonbValueFromContainer(value->val.binary.data, i);
}

static void
compile_required(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	if (!is_array(value))
		refuse(node, keyword, "expected a list of names");
	node->required_count = listed_count(node, keyword, value);
	node->required = palloc(sizeof(SchemaString) * Max(node->required_count, 1));
	for (int i = 0; i < node->required_count; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(value->val.binary.data, i);

		if (item->type != jbvString)
			refuse(node, keyword, "expected a list of names");
		node->required[i] = copy_string(item);
	}
}

/* An object whose members are schemas; jsonb hands them out in its order. */
static SchemaMembers
compile_members(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value, bool patterns)
{
	SchemaMembers members = {0};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!is_object(value))
		refuse(node, keyword, "expected an object of schemas");
	members.items = palloc0(sizeof(SchemaMember) * Max(listed_count(node, keyword, value), 1));
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &item, true);
	while ((token = JsonbIteratorNext(&it, &item, true)) == WJB_KEY)
	{
		SchemaMember *member = &members.items[members.count++];

		member->name = copy_string(&item);
		if (patterns)
			member->pattern = compile_pattern(node, keyword, &item);
		(void) JsonbIteratorNext(&it, &item, true);
		member->node = compile_node(compiler,
									child_pointer(node, keyword, member->name.data, member->name.length), &item);
	}
	return members;
}

static void
compile_properties(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	node->properties = compile_members(compiler, node, keyword, value, false);
}

static void
compile_pattern_properties(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	node->pattern_properties = compile_members(compiler, node, keyword, value, true);
}

static void
compile_defs(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	(void) compile_members(compiler, node, keyword, value, false);
}

static void
compile_nodes(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	SchemaNodes *nodes = strcmp(keyword, "allOf") == 0 ? &node->all_of :
		strcmp(keyword, "anyOf") == 0 ? &node->any_of :
		strcmp(keyword, "oneOf") == 0 ? &node->one_of : &node->prefix_items;

	if (!is_array(value) || JsonContainerSize(value->val.binary.data) == 0)
		refuse(node, keyword, "expected a list of schemas, not empty");
	nodes->count = listed_count(node, keyword, value);
	nodes->items = palloc(sizeof(SchemaNode *) * nodes->count);
	for (int i = 0; i < nodes->count; i++)
	{
		char		index[16];

		snprintf(index, sizeof(index), "%d", i);
		nodes->items[i] = compile_node(compiler, child_pointer(node, keyword, index, strlen(index)),
									   getIthJsonbValueFromContainer(value->val.binary.data, i));
	}
}

static void
compile_one(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	SchemaNode *child = compile_node(compiler, child_pointer(node, keyword, NULL, 0), value);

	if (strcmp(keyword, "additionalProperties") == 0)
		node->additional_properties = child;
	else if (strcmp(keyword, "propertyNames") == 0)
		node->property_names = child;
	else if (strcmp(keyword, "items") == 0)
		node->items = child;
	else if (strcmp(keyword, "not") == 0)
		node->not = child;
	else if (strcmp(keyword, "if") == 0)
		node->if_ = child;
	else if (strcmp(keyword, "then") == 0)
		node->then = child;
	else
		node->else_ = child;
}

static void
compile_count(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	const char *expected = "expected an integer from 0";
	Numeric		number;
	int64		count;

	if (value->type != jbvNumeric)
		refuse(node, keyword, expected);
	number = value->val.numeric;
	if (schema_compare_numbers(number, int64_to_numeric(0)) < 0 ||
		schema_compare_numbers(number, int64_to_numeric(PG_INT32_MAX)) > 0)
		refuse(node, keyword, expected);
	count = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
	if (schema_compare_numbers(number, int64_to_numeric(count)) != 0)
		refuse(node, keyword, expected);

	if (strcmp(keyword, "minLength") == 0)
		node->min_length = count;
	else if (strcmp(keyword, "maxLength") == 0)
		node->max_length = count;
	else if (strcmp(keyword, "minItems") == 0)
		node->min_items = count;
	else if (strcmp(keyword, "maxItems") == 0)
		node->max_items = count;
	else if (strcmp(keyword, "minProperties") == 0)
		node->min_properties = count;
	else
		node->max_properties = count;
}

static void
compile_number(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	if (value->type != jbvNumeric)
		refuse(node, keyword, "expected a number");
	if (strcmp(keyword, "minimum") == 0)
		node->minimum = value->val.numeric;
	else if (strcmp(keyword, "maximum") == 0)
		node->maximum = value->val.numeric;
	else if (strcmp(keyword, "exclusiveMinimum") == 0)
		node->exclusive_minimum = value->val.numeric;
	else if (strcmp(keyword, "exclusiveMaximum") == 0)
		node->exclusive_maximum = value->val.numeric;
	else
	{
		if (schema_compare_numbers(value->val.numeric, int64_to_numeric(0)) <= 0)
			refuse(node, keyword, "expected a number above 0");
		node->multiple_of = value->val.numeric;
	}
}

static void
compile_unique(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	if (value->type != jbvBool)
		refuse(node, keyword, "expected true or false");
	node->unique_items = value->val.boolean;
}

static void
compile_string(Compiler *compiler, SchemaNode *node, const char *keyword, JsonbValue *value)
{
	static const struct
	{
		const char *name;
		SchemaFormat format;
	}			formats[] = {
		{"uuid", FORMAT_UUID}, {"date", FORMAT_DATE}, {"date-time", FORMAT_DATE_TIME}, {"email", FORMAT_EMAIL}
	};

	if (value->type != jbvString)
		refuse(node, keyword, "expected a string");
	if (strcmp(keyword, "pattern") == 0)
		node->pattern = compile_pattern(node, keyword, value);
	else if (strcmp(keyword, "$ref") == 0)
	{
		node->ref_text = copy_string(value);
		compiler->references = lappend(compiler->references, node);
	}
	else
	{
		node->format_text = copy_string(value).data;
		for (int i = 0; i < lengthof(formats); i++)
			if (strcmp(formats[i].name, node->format_text) == 0)
				node->format = formats[i].format;
	}
}

static const struct
{
	const char *name;
	KeywordCompiler compile;
}			keywords[] = {
	{"$schema", compile_dialect}, {"$id", compile_id}, {"$comment", annotation}, {"$defs", compile_defs}, {"$ref", compile_string},
	{"title", annotation}, {"description", annotation}, {"default", annotation}, {"examples", annotation},
	{"deprecated", annotation}, {"readOnly", annotation}, {"writeOnly", annotation},
	{"type", compile_type}, {"const", compile_const}, {"enum", compile_enum},
	{"properties", compile_properties}, {"patternProperties", compile_pattern_properties},
	{"additionalProperties", compile_one}, {"propertyNames", compile_one}, {"required", compile_required},
	{"minProperties", compile_count}, {"maxProperties", compile_count},
	{"prefixItems", compile_nodes}, {"items", compile_one}, {"minItems", compile_count}, {"maxItems", compile_count},
	{"uniqueItems", compile_unique},
	{"minLength", compile_count}, {"maxLength", compile_count}, {"pattern", compile_string}, {"format", compile_string},
	{"minimum", compile_number}, {"maximum", compile_number}, {"exclusiveMinimum", compile_number},
	{"exclusiveMaximum", compile_number}, {"multipleOf", compile_number},
	{"allOf", compile_nodes}, {"anyOf", compile_nodes}, {"oneOf", compile_nodes}, {"not", compile_one},
	{"if", compile_one}, {"then", compile_one}, {"else", compile_one}
};

static void
compile_keyword(Compiler *compiler, SchemaNode *node, const JsonbValue *name, JsonbValue *value)
{
	for (int i = 0; i < lengthof(keywords); i++)
		if (strlen(keywords[i].name) == name->val.string.len &&
			memcmp(keywords[i].name, name->val.string.val, name->val.string.len) == 0)
		{
			keywords[i].compile(compiler, node, keywords[i].name, value);
			return;
		}
	refuse(node, pnstrdup(name->val.string.val, name->val.string.len), "not supported");
}

static SchemaNode *
compile_node(Compiler *compiler, const char *pointer, JsonbValue *value)
{
	SchemaNode *node = palloc0(sizeof(SchemaNode));
	Place	   *place;
	char		key[POINTER_MAX];

	CHECK_FOR_INTERRUPTS();
	node->pointer = pointer;
	node->max_properties = node->max_items = node->max_length = -1;
	if (++compiler->depth > SCHEMA_MAX_DEPTH)
		refuse(node, "", "nested too deep");
	strlcpy(key, pointer, sizeof(key));
	place = hash_search(compiler->places, key, HASH_ENTER, NULL);
	place->node = node;

	if (value->type == jbvBool)
		node->refuses_all = !value->val.boolean;
	else if (is_object(value))
	{
		JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
		JsonbValue	name,
					member;

		(void) JsonbIteratorNext(&it, &name, true);
		while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
		{
			(void) JsonbIteratorNext(&it, &member, true);
			compile_keyword(compiler, node, &name, &member);
		}
	}
	else
		refuse(node, "", "a schema is an object, true or false");
	compiler->depth--;
	return node;
}

/* Undoes the %xx of a URI fragment. */
static char *
decode_fragment(const SchemaString *ref)
{
	char	   *decoded = palloc(ref->length + 1);
	int			length = 0;

	for (int i = 0; i < ref->length; i++)
	{
		unsigned int byte;

		if (ref->data[i] == '%' && i + 2 < ref->length && sscanf(ref->data + i + 1, "%2x", &byte) == 1 && byte != 0)
		{
			decoded[length++] = (char) byte;
			i += 2;
		}
		else
			decoded[length++] = ref->data[i];
	}
	decoded[length] = '\0';
	return decoded;
}

static void
resolve_references(Compiler *compiler)
{
	ListCell   *lc;

	foreach(lc, compiler->references)
	{
		SchemaNode *node = lfirst(lc);
		char	   *pointer = decode_fragment(&node->ref_text);
		Place	   *place = NULL;

		if (pointer[0] != '#')
			refuse(node, "$ref", "only references within the schema (#/...) are supported");
		if (strlen(pointer) < POINTER_MAX)
		{
			char		key[POINTER_MAX];

			strlcpy(key, pointer, sizeof(key));
			place = hash_search(compiler->places, key, HASH_FIND, NULL);
		}
		if (place == NULL)
			refuse(node, "$ref", "no schema stands there");
		node->ref = place->node;
	}
}

JsonbValue
json_root_value(Jsonb *jsonb)
{
	JsonbValue	value;

	if (JB_ROOT_IS_SCALAR(jsonb))
		(void) JsonbExtractScalar(&jsonb->root, &value);
	else
	{
		value.type = jbvBinary;
		value.val.binary.data = &jsonb->root;
		value.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	}
	return value;
}

JsonSchema *
json_schema_compile(Jsonb *source, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "backoffice json schema", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	JsonSchema *schema = palloc0(sizeof(JsonSchema));
	HASHCTL		places = {.keysize = POINTER_MAX, .entrysize = sizeof(Place), .hcxt = context};
	Compiler	compiler = {0};
	Jsonb	   *copy = (Jsonb *) pg_detoast_datum_copy((struct varlena *) source);
	JsonbValue	root = json_root_value(copy);

	compiler.places = hash_create("schema places", 32, &places, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	schema->context = context;
	schema->root = compile_node(&compiler, "#", &root);
	resolve_references(&compiler);
	hash_destroy(compiler.places);
	MemoryContextSwitchTo(old);
	return schema;
}
