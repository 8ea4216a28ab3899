/*
 * refresh_token.c
 *		The form of refresh tokens: "bor_" and base64url of
 *
 *			version (1) | session id (16) | counter (uvarint) | HMAC-SHA-256/128
 *
 * The HMAC is keyed per session, over all that stands before it.
 */
#include "access/sessions.h"

#include <sodium.h>

#include "access/jws.h"

#define PREFIX "bor_"
#define VERSION 1
#define MAC_BYTES 16
#define VARINT_MAX_BYTES 9		/* of a counter, which is positive */
#define HEAD_MAX_BYTES (1 + UUID_LEN + VARINT_MAX_BYTES)
#define TEXT_MAX_BYTES 64

static void
mac_of(const char *key, const uint8 *head, int length, uint8 *mac)
{
	crypto_auth_hmacsha256_state state;
	uint8		full[crypto_auth_hmacsha256_BYTES];

	crypto_auth_hmacsha256_init(&state, (const uint8 *) key, SESSION_KEY_BYTES);
	crypto_auth_hmacsha256_update(&state, head, length);
	crypto_auth_hmacsha256_final(&state, full);
	memcpy(mac, full, MAC_BYTES);
	sodium_memzero(&state, sizeof(state));
}

static int
put_varint(uint8 *to, uint64 value)
{
	int			n = 0;

	for (; value >= 0x80; value >>= 7)
		to[n++] = (uint8) (value | 0x80);
	to[n++] = (uint8) value;
	return n;
}

/* The shortest form only: a counter has one token.  0: none. */
static int
get_varint(const uint8 *from, int length, uint64 *value)
{
	*value = 0;
	for (int n = 0; n < Min(length, VARINT_MAX_BYTES); n++)
	{
		*value |= (uint64) (from[n] & 0x7F) << (7 * n);
		if (!(from[n] & 0x80))
			return n > 0 && from[n] == 0 ? 0 : n + 1;
	}
	return 0;
}

char *
refresh_token_write(const Session *session)
{
	uint8		bytes[HEAD_MAX_BYTES + MAC_BYTES];
	char	   *text = palloc(strlen(PREFIX) + TEXT_MAX_BYTES + 4);
	int			length = 0;

	bytes[length++] = VERSION;
	memcpy(bytes + length, &session->id, UUID_LEN);
	length += UUID_LEN;
	length += put_varint(bytes + length, (uint64) session->counter);
	mac_of(session->key, bytes, length, bytes + length);
	length += MAC_BYTES;

	strcpy(text, PREFIX);
	base64url_encode(bytes, length, text + strlen(PREFIX));
	return text;
}

bool
refresh_token_read(const char *text, RefreshToken *token)
{
	const char *encoded = text + strlen(PREFIX);
	uint8		bytes[TEXT_MAX_BYTES];
	size_t		decoded;
	int			length;
	int			n;
	uint64		counter;

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 || strlen(encoded) > TEXT_MAX_BYTES ||
		!base64url_decode(encoded, strlen(encoded), bytes, &decoded))
		return false;
	length = (int) decoded;
	if (length < 1 + UUID_LEN + 1 + MAC_BYTES || bytes[0] != VERSION)
		return false;
	n = get_varint(bytes + 1 + UUID_LEN, length - 1 - UUID_LEN - MAC_BYTES, &counter);
	if (n == 0 || 1 + UUID_LEN + n + MAC_BYTES != length)
		return false;
	memcpy(&token->session_id, bytes + 1, UUID_LEN);
	token->counter = (int64) counter;
	token->head_length = length - MAC_BYTES;
	memcpy(token->bytes, bytes, length);
	return true;
}

bool
refresh_token_is_of(const RefreshToken *token, const Session *session)
{
	uint8		mac[MAC_BYTES];

	mac_of(session->key, token->bytes, token->head_length, mac);
	return sodium_memcmp(mac, token->bytes + token->head_length, MAC_BYTES) == 0;
}
