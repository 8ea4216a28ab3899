/*
 * Positions as clients see them: sealed, so that they tell nobody how much others emit.
 *
 * <key id>.<base64url of: 8 random bytes, AES-SIV of the position under the key, bound to the organization>.
 * The same position looks different each time: not even that it moved on can be seen.
 */
#ifndef BACKOFFICE_EVENTS_SEAL_H
#define BACKOFFICE_EVENTS_SEAL_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "lib/event.h"

#define SEAL_TEXT 80			/* of a sealed position, NUL included */

typedef struct Seal Seal;

typedef enum SealVerdict
{
	SEAL_GOOD,
	SEAL_BAD,					/* no position, another organization's, or changed */
	SEAL_KEY_GONE				/* the key file does not have its key (any more) */
} SealVerdict;

/* The statement that asks for the keys, and its answer. NULL: it has none, or no memory. */
extern const char seal_sql[];
extern Seal *seal_read(const PGresult *result);
extern void seal_free(Seal *seal);

/* Of the key that it names. */
extern bool seal_has_key(const Seal *seal, const char *text);

/* text: SEAL_TEXT bytes. */
extern void seal_position(const Seal *seal, const unsigned char *organization, const Position *position, char *text);
extern SealVerdict seal_open(const Seal *seal, const unsigned char *organization, const char *text, Position *position);

#endif
