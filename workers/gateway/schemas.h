/* JSON schemas of the answers, by the names that the route table uses. */
#ifndef BACKOFFICE_SCHEMAS_H
#define BACKOFFICE_SCHEMAS_H

typedef struct Schema
{
	const char *name;
	const char *json;
} Schema;

extern const Schema schemas[];
extern const int schema_count;

#endif
