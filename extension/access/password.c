/*
 * password.c
 *		Argon2id, with OWASP's parameters: 19 MiB, two passes, one lane.
 */
#include "access/sessions.h"

#include <sodium.h>

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#define MEMORY_KIB		(19 * 1024)
#define PASSES			2
#define MAX_BYTES		1024

static int	min_length = 8;

static void
start_sodium(void)
{
	if (sodium_init() < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not start libsodium")));
}

/* NULL: too many hash now. */
static char *
hash(const char *password, Size length)
{
	char	   *result = palloc0(crypto_pwhash_STRBYTES);
	int			failed;

	start_sodium();
	if (!hashing_begin())
		return NULL;
	failed = crypto_pwhash_str_alg(result, password, length, PASSES, MEMORY_KIB * 1024, crypto_pwhash_ALG_ARGON2ID13);
	hashing_end();
	if (failed)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Hashing a password takes %d kB.", MEMORY_KIB)));
	return result;
}

void
password_check_rules(const char *password)
{
	Size		length = strlen(password);

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
}

char *
password_hash(const char *password)
{
	char	   *result;

	password_check_rules(password);
	result = hash(password, strlen(password));
	if (result == NULL)
		ereport(ERROR,
				(errcode(BO_UNAVAILABLE),
				 errmsg("too many passwords are being hashed"),
				 bo_code("busy", "all places of backoffice.password_hashes_at_once are taken"),
				 errhint("Try again in a second.")));
	return result;
}

char *
password_rehash(const char *password)
{
	return hash(password, strlen(password));
}

/*
 * A well-formed hash that nobody's password has: checking against it costs
 * what checking a real one does.
 */
static const char *
nobodys_hash(void)
{
	static char text[crypto_pwhash_STRBYTES];

	if (text[0] == '\0')
		snprintf(text, sizeof(text), "$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", MEMORY_KIB, PASSES,
				 "bm9ib2R5J3Mgc2FsdCwgMQ", "VGhpcyBpcyB0aGUgaGFzaCBvZiBubyBwYXNzd29yZC4");
	return text;
}

PasswordCheck
password_check(const char *password, const char *stored)
{
	Size		length = strlen(password);
	int			differs;

	start_sodium();
	if (!hashing_begin())
		return PASSWORD_BUSY;
	differs = crypto_pwhash_str_verify(stored ? stored : nobodys_hash(), password, Min(length, MAX_BYTES));
	hashing_end();
	return differs || stored == NULL || length > MAX_BYTES ? PASSWORD_WRONG : PASSWORD_RIGHT;
}

bool
password_is_outdated(const char *stored)
{
	int			memory_kib,
				passes;

	/* Not libsodium's own question, which asks for any difference: a stronger one stays. */
	return sscanf(stored, "$argon2id$v=19$m=%d,t=%d,", &memory_kib, &passes) != 2 ||
		memory_kib < MEMORY_KIB || passes < PASSES;
}

void
password_init(void)
{
	DefineCustomIntVariable("backoffice.password_min_length",
							"Characters a password must have at least.",
							"Applies to passwords set from now on.",
							&min_length, 8, 1, 128, PGC_SUSET, 0, NULL, NULL, NULL);
}
