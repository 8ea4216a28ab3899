/*
 * error_bound.c
 *		How long the texts of an error may be that goes to an HTTP client.
 *
 * An error's message may have as much as a value, and every program on its way
 * has to hold the whole of it.  The gateway bounds answers by looking at them
 * in the statement (workers/gateway/bound.h); an error is out of reach there.
 *
 * The hook runs while an error is being reported: it cuts in place, allocates
 * nothing and looks nothing up but the encoding.
 */
#include "core/request.h"

#include "mb/pg_wchar.h"
#include "utils/elog.h"

#define ERROR_TEXT_MAX (64 * 1024)

static emit_log_hook_type next_hook;
static bool bounded = false;

static void
cut(char *text)
{
	Size		length = text ? strlen(text) : 0;

	if (length > ERROR_TEXT_MAX)
		text[pg_mbcliplen(text, (int) Min(length, ERROR_TEXT_MAX + MAX_MULTIBYTE_CHAR_LEN), ERROR_TEXT_MAX)] = '\0';
}

static void
cut_texts(ErrorData *error)
{
	if (bounded)
	{
		cut(error->message);
		cut(error->detail);
		cut(error->hint);
		cut(error->context);
		cut(error->schema_name);
		cut(error->table_name);
		cut(error->column_name);
		cut(error->datatype_name);
		cut(error->constraint_name);
		cut(error->internalquery);
	}
	if (next_hook != NULL)
		next_hook(error);
}

void
error_bound_init(void)
{
	next_hook = emit_log_hook;
	emit_log_hook = cut_texts;
}

void
bo_bound_errors(void)
{
	bounded = true;
}
