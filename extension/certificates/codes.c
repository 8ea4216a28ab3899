/*
 * codes.c
 *		The form of codes and CVCs.
 *
 * Generated codes are written in Crockford's base 32 (no I, L, O, U).  The
 * check symbol is computed in the field of 32 elements: each symbol is added
 * (exclusive or), then the sum multiplied by the generator.  So symbol k
 * weighs g^(n-k), all weights of 31 neighbouring places differ and none is 0:
 * every single wrong symbol is found, and every exchange of two different
 * symbols, neighbours or not.  (Luhn mod 32 misses the exchange of the
 * first and the last symbol of its alphabet.)
 */
#include "certificates/codes.h"

#define BASE32 "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#define FIELD_POLYNOMIAL 0x25	/* x^5 + x^2 + 1 */
#define GENERATED_SYMBOLS 20
#define GROUP 5

static int
symbol_value(char symbol)
{
	const char *at = symbol == '\0' ? NULL : strchr(BASE32, symbol);

	return at ? (int) (at - BASE32) : -1;
}

int
code_normalise(const char *written, Size length, char *normal)
{
	int			n = 0;

	if (length > CODE_BYTES_MAX)
		return 0;
	for (Size i = 0; i < length; i++)
	{
		char		c = written[i];

		if (c == ' ' || c == '-' || c == '_' || c == '.')
			continue;
		if (c >= 'a' && c <= 'z')
			c -= 'a' - 'A';
		if (c == 'O')
			c = '0';
		else if (c == 'I' || c == 'L')
			c = '1';
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')) || n == CODE_MAX)
			return 0;
		normal[n++] = c;
	}
	normal[n] = '\0';
	return n >= CODE_MIN ? n : 0;
}

/* -1: a symbol that is not in the alphabet (U). */
static int
check_symbol(const char *normal, int length)
{
	int			sum = 0;

	for (int i = 0; i < length; i++)
	{
		int			value = symbol_value(normal[i]);

		if (value < 0)
			return -1;
		sum = (sum ^ value) << 1;
		if (sum & 0x20)
			sum ^= FIELD_POLYNOMIAL;
	}
	return sum;
}

bool
code_check_symbol_matches(const char *normal, int length)
{
	int			check = length > 1 ? check_symbol(normal, length - 1) : -1;

	return check >= 0 && check == symbol_value(normal[length - 1]);
}

bool
cvc_is_well_formed(const char *cvc, Size length)
{
	if (length < CVC_MIN || length > CVC_MAX)
		return false;
	for (Size i = 0; i < length; i++)
		if (cvc[i] < '0' || cvc[i] > '9')
			return false;
	return true;
}

bytea *
code_index(int key_number, const pg_uuid_t *organization, const char *normal, int length)
{
	SecretOwner scope;

	memset(&scope, 0, sizeof(scope));
	scope.organization_id = *organization;
	return keys_hash(key_number, PURPOSE_CODE_INDEX, &scope, normal, length);
}

void
code_generate(char *code)
{
	uint8		random[GENERATED_SYMBOLS];
	char		normal[GENERATED_SYMBOLS];
	char	   *to = code;

	crypto_random(random, sizeof(random));
	for (int i = 0; i < GENERATED_SYMBOLS - 1; i++)
		normal[i] = BASE32[random[i] & 31];
	normal[GENERATED_SYMBOLS - 1] = BASE32[check_symbol(normal, GENERATED_SYMBOLS - 1)];
	for (int i = 0; i < GENERATED_SYMBOLS; i++)
	{
		if (i > 0 && i % GROUP == 0)
			*to++ = '-';
		*to++ = normal[i];
	}
	*to = '\0';
	explicit_bzero(random, sizeof(random));
	explicit_bzero(normal, sizeof(normal));
}

/* Bytes of 250 and more are drawn again: each digit is as likely as any other. */
void
cvc_generate(char *cvc, int digits)
{
	uint8		random[2 * CVC_MAX];
	int			n = 0;

	while (n < digits)
	{
		crypto_random(random, sizeof(random));
		for (int i = 0; i < sizeof(random) && n < digits; i++)
			if (random[i] < 250)
				cvc[n++] = '0' + random[i] % 10;
	}
	cvc[n] = '\0';
	explicit_bzero(random, sizeof(random));
}
