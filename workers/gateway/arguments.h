/* From a request to the arguments of a function. */
#ifndef BACKOFFICE_ARGUMENTS_H
#define BACKOFFICE_ARGUMENTS_H

#include <jansson.h>

#include "gateway/routes.h"

/* What is wrong with a request's arguments. */
typedef struct Complaint
{
	const char *code;
	const char *text;			/* in the request's memory, or static */
	const char *hint;			/* likewise; NULL: none */
} Complaint;

/*
 * Collects the arguments of the request's route: values[i] is the text of
 * route->arguments[i], NULL where it was left out. False: see the complaint.
 */
extern bool arguments_collect(Request *request, const char **values, Complaint *complaint);

/* Pure pieces of it, for tests and fuzzing. out: room as the types say; false: not of the type. */
extern bool argument_from_text(ArgumentType type, const char *text);
/* text: value as it was sent. */
extern char *argument_from_json(Request *request, ArgumentType type, const json_t *value, const char *text, size_t len);

/* Its type in SQL, and as a JSON schema. */
extern const char *argument_sql_type(ArgumentType type);
extern const char *argument_schema(ArgumentType type);

#endif
