/*
 * password.c
 *		Argon2id, with OWASP's parameters: 19 MiB, two passes, one lane.
 */
#include "access/access_internal.h"

#include <sodium.h>

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#define MEMORY_BYTES	(19 * 1024 * 1024)
#define PASSES			2
#define MAX_BYTES		1024

static int	min_length = 8;

char *
password_hash(const char *password)
{
	Size		length = strlen(password);
	char	   *hash;

	if (pg_mbstrlen(password) < min_length)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the password is too short"),
				 bo_code("password_too_short", "at least %d characters are needed", min_length),
				 errhint("The limit is backoffice.password_min_length.")));
	if (length > MAX_BYTES)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the password is too long"),
				 bo_code("password_too_long", "at most %d bytes are allowed", MAX_BYTES),
				 errhint("Use a shorter one.")));
	if (sodium_init() < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not start libsodium")));
	hash = palloc0(crypto_pwhash_STRBYTES);
	if (crypto_pwhash_str_alg(hash, password, length, PASSES, MEMORY_BYTES, crypto_pwhash_ALG_ARGON2ID13) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Hashing a password takes %d bytes.", MEMORY_BYTES)));
	return hash;
}

void
password_init(void)
{
	DefineCustomIntVariable("backoffice.password_min_length",
							"Characters a password must have at least.",
							"Applies to passwords set from now on.",
							&min_length, 8, 1, 128, PGC_SUSET, 0, NULL, NULL, NULL);
}
