/*
 * token_cache.c
 *		Verified tokens, by their SHA-256, until they expire.
 *
 * Two halves: what is new goes into the young one; when that has grown to half
 * of the limit the old one is dropped, and the young one becomes old.  What is
 * found in the old half moves to the young one.  So memory is bounded, and
 * what is used stays.  Only tokens that verified come in.
 */
#define OPENSSL_SUPPRESS_DEPRECATED	/* see hash_token() */

#include "access/tokens.h"

#include <openssl/sha.h>

#include "core/keys.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct Half
{
	MemoryContext context;
	HTAB	   *table;			/* of VerifiedToken */
} Half;

static Half young;
static Half old;

/* The old interface: for some hundred bytes EVP's dispatch costs as much as the hash itself, and this is most of what a warm token costs. */
static void
hash_token(const char *token, Size length, uint8 *hash)
{
	SHA256_CTX	ctx;

	if (SHA256_Init(&ctx) != 1 || SHA256_Update(&ctx, token, length) != 1 || SHA256_Final(hash, &ctx) != 1)
		crypto_failed("SHA-256");
}

/* ---- halves ---- */

static void
half_drop(Half *half)
{
	if (half->context != NULL)
		MemoryContextDelete(half->context);
	memset(half, 0, sizeof(*half));
}

static void
half_create(Half *half)
{
	HASHCTL		info = {0};

	half->context = AllocSetContextCreate(CacheMemoryContext, "backoffice verified tokens", ALLOCSET_SMALL_SIZES);
	info.keysize = TOKEN_HASH_BYTES;
	info.entrysize = sizeof(VerifiedToken);
	info.hcxt = half->context;
	half->table = hash_create("backoffice verified tokens", 32, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static VerifiedToken *
half_find(const Half *half, const uint8 *hash)
{
	return half->table == NULL ? NULL : hash_search(half->table, hash, HASH_FIND, NULL);
}

static void
half_remove(const Half *half, const uint8 *hash)
{
	if (half->table != NULL)
		(void) hash_search(half->table, hash, HASH_REMOVE, NULL);
}

static char *
copy_text(const char *text)
{
	return text == NULL ? NULL : MemoryContextStrdup(young.context, text);
}

/* A full young half becomes the old one; what has to be dropped for it is returned. */
static Half
make_room(void)
{
	Half		dropped = {0};

	if (young.context != NULL && MemoryContextMemAllocated(young.context, true) > (Size) token_cache_kb * 1024 / 2)
	{
		dropped = old;
		old = young;
		memset(&young, 0, sizeof(young));
	}
	if (young.context == NULL)
		half_create(&young);
	return dropped;
}

static VerifiedToken *
keep(const VerifiedToken *verified)
{
	VerifiedToken *kept;
	VerifiedToken copy = *verified;
	Half		dropped = make_room();

	copy.issuer = copy_text(verified->issuer);
	copy.subject = copy_text(verified->subject);
	copy.sid = copy_text(verified->sid);
	copy.role = copy_text(verified->role);
	copy.claims = copy_text(verified->claims);
	copy.label = copy_text(verified->label);
	if (verified->scopes != NULL)
	{
		copy.scopes = MemoryContextAlloc(young.context, sizeof(uint64) * (PRINCIPAL_RIGHTS / 64));
		memcpy(copy.scopes, verified->scopes, sizeof(uint64) * (PRINCIPAL_RIGHTS / 64));
	}
	kept = hash_search(young.table, verified->hash, HASH_ENTER, NULL);
	*kept = copy;
	/* Last: what is being kept may have lain there. */
	half_drop(&dropped);
	return kept;
}

/* ---- looking up ---- */

static bool
is_fresh(const VerifiedToken *verified)
{
	TimestampTz now = bo_now();

	return verified->generation == tokens_marker.generation &&
		now >= verified->valid_from && now < verified->valid_until &&
		(verified->scopes == NULL || verified->rights_generation == rights_generation());
}

static VerifiedToken *
find(const uint8 *hash)
{
	VerifiedToken *found = half_find(&young, hash);

	if (found == NULL)
	{
		found = half_find(&old, hash);
		if (found != NULL && is_fresh(found))
			return keep(found);
	}
	if (found != NULL && is_fresh(found))
		return found;
	return NULL;
}

VerifiedToken *
token_verified(const char *token, Size length)
{
	static VerifiedToken fleeting;
	VerifiedToken verified;
	VerifiedToken *found;
	uint8		hash[TOKEN_HASH_BYTES];

	if (length > JWS_TOKEN_MAX)
		refuse_token(TOKEN_MALFORMED, "the token is too long");
	hash_token(token, length, hash);
	found = find(hash);
	if (found != NULL)
		return found;

	memset(&verified, 0, sizeof(verified));
	memcpy(verified.hash, hash, sizeof(hash));
	verified.generation = marker_read(&tokens_marker);
	verified.rights_generation = rights_generation();
	token_verify(token, length, &verified);
	if (!verified.fleeting)
		return keep(&verified);
	fleeting = verified;
	return &fleeting;
}

void
token_forget(const VerifiedToken *verified)
{
	uint8		hash[TOKEN_HASH_BYTES];

	memcpy(hash, verified->hash, sizeof(hash));
	half_remove(&young, hash);
	half_remove(&old, hash);
}
