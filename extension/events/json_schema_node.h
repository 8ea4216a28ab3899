/*
 * json_schema_node.h
 *		A compiled schema: between json_schema.c (compile) and json_schema_check.c.
 */
#ifndef BACKOFFICE_JSON_SCHEMA_NODE_H
#define BACKOFFICE_JSON_SCHEMA_NODE_H

#include "events/json_schema.h"
#include "utils/numeric.h"

/* Deeper schemas are refused; deeper payloads under a recursive schema are invalid. */
#define SCHEMA_MAX_DEPTH 64
#define CHECK_MAX_DEPTH 256

#define SCHEMA_TYPE_NULL	0x01
#define SCHEMA_TYPE_BOOLEAN	0x02
#define SCHEMA_TYPE_OBJECT	0x04
#define SCHEMA_TYPE_ARRAY	0x08
#define SCHEMA_TYPE_NUMBER	0x10
#define SCHEMA_TYPE_INTEGER	0x20
#define SCHEMA_TYPE_STRING	0x40

typedef enum SchemaFormat
{
	FORMAT_ANY = 0,				/* none, or one that is only an annotation */
	FORMAT_UUID,
	FORMAT_DATE,
	FORMAT_DATE_TIME,
	FORMAT_EMAIL
} SchemaFormat;

typedef struct SchemaNode SchemaNode;

typedef struct SchemaString
{
	const char *data;			/* NUL-terminated as well */
	int			length;
} SchemaString;

typedef struct SchemaMember
{
	SchemaString name;			/* a property's name, or a pattern of names */
	text	   *pattern;		/* for patternProperties */
	SchemaNode *node;
} SchemaMember;

typedef struct SchemaMembers
{
	int			count;
	SchemaMember *items;
} SchemaMembers;

typedef struct SchemaNodes
{
	int			count;
	SchemaNode **items;
} SchemaNodes;

struct SchemaNode
{
	const char *pointer;		/* where it stands in the schema: "#/properties/a" */
	bool		refuses_all;	/* the schema false */
	int			types;			/* mask; 0: any */
	const char *types_text;		/* for messages */

	bool		has_const;
	JsonbValue	constant;
	bool		has_enum;
	int			enum_count;
	JsonbValue *enum_values;

	SchemaMembers properties;	/* sorted by length, then bytes, as jsonb does */
	SchemaMembers pattern_properties;
	SchemaNode *additional_properties;
	SchemaNode *property_names;
	int			required_count;
	SchemaString *required;
	int64		min_properties;
	int64		max_properties; /* -1: no limit; so for all max_... */

	SchemaNodes prefix_items;
	SchemaNode *items;
	int64		min_items;
	int64		max_items;
	bool		unique_items;

	int64		min_length;
	int64		max_length;
	text	   *pattern;
	SchemaFormat format;
	const char *format_text;

	Numeric		minimum;
	Numeric		maximum;
	Numeric		exclusive_minimum;
	Numeric		exclusive_maximum;
	Numeric		multiple_of;

	SchemaNodes all_of;
	SchemaNodes any_of;
	SchemaNodes one_of;
	SchemaNode *not;
	SchemaNode *if_;
	SchemaNode *then;
	SchemaNode *else_;

	SchemaString ref_text;
	SchemaNode *ref;
};

struct JsonSchema
{
	MemoryContext context;
	SchemaNode *root;
};

/* json_schema.c: the value at the root, also where it is a scalar. */
extern JsonbValue json_root_value(Jsonb *jsonb);

/* json_schema_check.c: numbers by value, as a comparison of qsort's. */
extern int	schema_compare_numbers(Numeric a, Numeric b);

/* json_schema_format.c: is the string of this format? */
extern bool schema_format_matches(SchemaFormat format, const char *string, int length);

#endif
