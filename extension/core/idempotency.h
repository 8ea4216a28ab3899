/*
 * idempotency.h
 *		The same key again: the same answer again, without the effect.
 *
 * Usage, all in one transaction:
 *		IdempotencyHash *hash = idempotency_hash_begin();
 *		idempotency_hash_text(hash, arg); ...
 *		if (!idempotency_begin("certificates.reserve", key, hash, &response))
 *			return what response says;
 *		... the effect ...
 *		idempotency_finish("certificates.reserve", key, response);
 *
 * Keys belong to the principal's organization.  A rolled-back transaction
 * leaves no key behind.  Keys do not expire.
 */
#ifndef BACKOFFICE_IDEMPOTENCY_H
#define BACKOFFICE_IDEMPOTENCY_H

#include "core/core.h"
#include "utils/jsonb.h"

#define IDEMPOTENCY_KEY_MAX_BYTES 512

typedef struct IdempotencyHash IdempotencyHash;

/* The hash of a request: each part counts with its length, NULL differs from empty. */
extern IdempotencyHash *idempotency_hash_begin(void);
extern void idempotency_hash_text(IdempotencyHash *hash, const char *text);
extern void idempotency_hash_bytes(IdempotencyHash *hash, const void *bytes, Size length);
extern void idempotency_hash_int64(IdempotencyHash *hash, int64 number);
extern void idempotency_hash_jsonb(IdempotencyHash *hash, Jsonb *json);

/* The 32 bytes (SHA-256) as a bytea; ends the hash. */
extern bytea *idempotency_hash_end(IdempotencyHash *hash);

/*
 * True: the key is new and now ours.  False: seen before with an equal
 * request; *response is what was stored (NULL if nothing was), palloc'd.
 * Waits for a concurrent transaction that holds the same key.
 * Errors: no_principal, invalid_idempotency_key, idempotency_conflict (PT409).
 */
extern bool idempotency_begin(const char *scope, const char *key, IdempotencyHash *hash, Jsonb **response);

/* Stores the answer that replays will get; response may be NULL. */
extern void idempotency_finish(const char *scope, const char *key, Jsonb *response);

/* The request had no effect worth remembering: a repetition is tried afresh. */
extern void idempotency_forget(const char *scope, const char *key);

/* Raises PT409 idempotency_conflict. */
extern void idempotency_conflict(void) pg_attribute_noreturn();

#endif
