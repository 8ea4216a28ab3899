/*
 * totp.c
 *		Time-based one-time passwords (RFC 6238), by liboath: six digits of
 *		HMAC-SHA-1 over steps of 30 seconds, as every authenticator application
 *		has them.
 */
#include "access/mfa.h"

#include <liboath/oath.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"

#define STEP_S 30
#define WINDOW 1				/* steps before and after the current one */

PG_FUNCTION_INFO_V1(access_totp);

static void
start_oath(void)
{
	static bool started = false;

	if (!started && oath_init() != OATH_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not start liboath")));
	started = true;
}

static time_t
unix_time(TimestampTz at)
{
	return (time_t) (at / USECS_PER_SEC) + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

int64
totp_step(const char *seed, Size length, const char *code, TimestampTz at)
{
	time_t		now = unix_time(at);
	int			offset;
	int			found;

	if (strlen(code) != TOTP_DIGITS || strspn(code, "0123456789") != TOTP_DIGITS)
		return 0;
	start_oath();
	found = oath_totp_validate2(seed, length, now, STEP_S, 0, WINDOW, &offset, code);
	return found < 0 ? 0 : now / STEP_S + offset;
}

char *
totp_base32(const char *seed, Size length)
{
	char	   *encoded;
	char	   *copy;

	start_oath();
	if (oath_base32_encode(seed, length, &encoded, NULL) != OATH_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	copy = pstrdup(encoded);
	explicit_bzero(encoded, strlen(encoded));
	free(encoded);
	return copy;
}

/* totp(seed bytea, at timestamptz, digits integer): what an authenticator shows */
Datum
access_totp(PG_FUNCTION_ARGS)
{
	bytea	   *seed = PG_GETARG_BYTEA_PP(0);
	int			digits = PG_GETARG_INT32(2);
	char		code[16];

	start_oath();
	if (digits < 6 || digits > 8 ||
		oath_totp_generate(VARDATA_ANY(seed), VARSIZE_ANY_EXHDR(seed), unix_time(PG_GETARG_TIMESTAMPTZ(1)), STEP_S, 0, digits, code) != OATH_OK)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("liboath makes no code of this"),
				 bo_code("bad_totp", "6 to 8 digits, of a time since 1970"),
				 errhint("See RFC 6238.")));
	PG_RETURN_TEXT_P(cstring_to_text(code));
}
