/*
 * recovery_codes.c
 *		Codes that stand in for a lost authenticator: 80 random bits each,
 *		kept as keyed hashes, good once.
 */
#include "access/mfa.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define PURPOSE "access.recovery"
#define CODES 10
#define CODE_BYTES 10			/* 16 characters of base32 */
#define CODE_LENGTH 16
#define GROUP 4

static Datum
hash_of(int key, const pg_uuid_t *user, const char *normal)
{
	SecretOwner owner = {.id = *user};

	return PointerGetDatum(keys_hash(key, PURPOSE, &owner, normal, CODE_LENGTH));
}

void
recovery_codes_drop(const pg_uuid_t *user)
{
	static BoPlan plan = {"DELETE FROM access.recovery_codes WHERE user_id = $1", 1, {UUIDOID}};
	Datum		args[1] = {UUIDPGetDatum(user)};

	bo_spi_run(&plan, args, NULL, 0);
}

/* XXXX-XXXX-XXXX-XXXX */
static char *
grouped(const char *normal)
{
	char	   *text = palloc(CODE_LENGTH + CODE_LENGTH / GROUP);
	char	   *to = text;

	for (int i = 0; i < CODE_LENGTH; i++)
	{
		if (i > 0 && i % GROUP == 0)
			*to++ = '-';
		*to++ = normal[i];
	}
	*to = '\0';
	return text;
}

List *
recovery_codes_make(const pg_uuid_t *user)
{
	static BoPlan plan = {
		"INSERT INTO access.recovery_codes (user_id, code_hash, created_at) VALUES ($1, $2, $3)", 3, {UUIDOID, BYTEAOID, TIMESTAMPTZOID}
	};
	List	   *codes = NIL;

	recovery_codes_drop(user);
	for (int i = 0; i < CODES; i++)
	{
		char		bytes[CODE_BYTES];
		char	   *normal;
		Datum		args[3] = {UUIDPGetDatum(user), 0, TimestampTzGetDatum(bo_now())};

		crypto_random(bytes, CODE_BYTES);
		normal = totp_base32(bytes, CODE_BYTES);
		args[1] = hash_of(0, user, normal);
		bo_spi_run(&plan, args, NULL, 0);
		codes = lappend(codes, grouped(normal));
		keys_wipe(normal, strlen(normal));
	}
	return codes;
}

/* Capital letters and digits only; false: it has not the length of a code. */
static bool
normalise(const char *code, char *normal)
{
	int			length = 0;

	for (; *code; code++)
	{
		if (*code == '-' || *code == ' ')
			continue;
		if (length == CODE_LENGTH)
			return false;
		normal[length++] = (char) pg_ascii_toupper((unsigned char) *code);
	}
	normal[length] = '\0';
	return length == CODE_LENGTH;
}

bool
recovery_code_use(const pg_uuid_t *user, const char *code)
{
	static BoPlan plan = {
		"UPDATE access.recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL",
		3, {UUIDOID, BYTEAOID, TIMESTAMPTZOID}
	};
	char		normal[CODE_LENGTH + 1];
	bool		used = false;

	if (!normalise(code, normal))
		return false;
	for (int key = 0; key < keys_count() && !used; key++)
	{
		Datum		args[3] = {UUIDPGetDatum(user), hash_of(key, user, normal), TimestampTzGetDatum(bo_now())};

		used = bo_spi_run(&plan, args, NULL, 0) > 0;
	}
	explicit_bzero(normal, sizeof(normal));
	return used;
}
