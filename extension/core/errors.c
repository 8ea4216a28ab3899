/*
 * errors.c
 *		A stable symbolic code on every error, and backoffice.raise() for SQL.
 */
#include "core/core.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#define MAX_DETAIL_BYTES 1024

PG_FUNCTION_INFO_V1(backoffice_raise);

int
bo_code(const char *code, const char *fmt,...)
{
	char		detail[MAX_DETAIL_BYTES];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	detail[pg_mbcliplen(detail, strlen(detail), sizeof(detail) - 1)] = '\0';

	err_generic_string(PG_DIAG_CONSTRAINT_NAME, code);
	return errdetail("%s: %s", code, detail);
}

char *
bo_clipped(const char *text, int bytes)
{
	return pnstrdup(text, pg_mbcliplen(text, strlen(text), bytes));
}

/* raise(sqlstate text, code text, message text, detail text, hint text): never returns */
Datum
backoffice_raise(PG_FUNCTION_ARGS)
{
	char	   *part[5];

	for (int i = 0; i < 5; i++)
		part[i] = PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));

	if (part[0] == NULL || strlen(part[0]) != 5 || strspn(part[0], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an SQLSTATE has five characters, digits and capital letters"),
				 bo_code("invalid_sqlstate", "got %s", part[0] ? part[0] : "null")));

	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(part[0][0], part[0][1], part[0][2], part[0][3], part[0][4])),
			 errmsg("%s", part[2] ? part[2] : "unspecified error"),
			 bo_code(part[1] ? part[1] : "unspecified", "%s", part[3] ? part[3] : ""),
			 part[4] ? errhint("%s", part[4]) : 0));
	PG_RETURN_VOID();
}
