/*
 * import.h
 *		Codes on their way into a pool.
 */
#ifndef BACKOFFICE_IMPORT_H
#define BACKOFFICE_IMPORT_H

#include "certificates/pools.h"

/* Not NUL-terminated; data NULL: none given. */
typedef struct Secret
{
	const char *data;
	Size		length;
} Secret;

typedef struct ImportRow
{
	int64		number;			/* what error messages call it */
	Secret		code;
	Secret		cvc;			/* none: one is made */
} ImportRow;

/* backoffice.max_import_codes */
extern int	import_max_codes;

/*
 * Checks all rows and puts them into the pool: all or none.  source
 * ("imported", "generated") goes into the event pool.imported.  Errors:
 * pool_closed (PT409), invalid_codes (PT422, naming the first rows).
 */
extern void import_run(const Pool *pool, const ImportRow *rows, int64 nrows, const char *source);

/* Error too_many_codes (PT413). */
extern void import_too_many(int64 n) pg_attribute_noreturn();

extern void import_init(void);

#endif
