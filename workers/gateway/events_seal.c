#include "gateway/events_seal.h"

#include <endian.h>
#include <gnutls/crypto.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/text.h"
#include "lib/log.h"

#define KEY_ID_MAX 16
#define KEY_BYTES 32
#define NONCE_BYTES 8
#define TAG_BYTES 16
#define CLEAR_BYTES 20			/* epoch, tick, seq */
#define SEALED_BYTES (NONCE_BYTES + TAG_BYTES + CLEAR_BYTES)
#define SEALED_TEXT ((SEALED_BYTES * 4 + 2) / 3)
#define ORGANIZATION_BYTES 16

typedef struct SealKey
{
	char		id[KEY_ID_MAX + 1];
	gnutls_aead_cipher_hd_t cipher;
} SealKey;

struct Seal
{
	int			count;
	SealKey		keys[];			/* the first one seals */
};

const char	seal_sql[] = "SELECT pg_catalog.unnest(access.position_keys())";

/* "id hex" */
static bool
read_key(const char *text, SealKey *key)
{
	const char *hex = strchr(text, ' ');
	unsigned char bytes[KEY_BYTES];
	gnutls_datum_t encoded;
	gnutls_datum_t secret = {bytes, sizeof(bytes)};
	size_t		size = sizeof(bytes);
	bool		good;

	if (hex == NULL || hex == text || hex - text > KEY_ID_MAX || strlen(hex + 1) != 2 * KEY_BYTES)
		return false;
	memcpy(key->id, text, (size_t) (hex - text));
	encoded = (gnutls_datum_t) {(unsigned char *) hex + 1, 2 * KEY_BYTES};
	good = gnutls_hex_decode(&encoded, bytes, &size) == 0 && size == KEY_BYTES &&
		gnutls_aead_cipher_init(&key->cipher, GNUTLS_CIPHER_AES_128_SIV, &secret) == 0;
	explicit_bzero(bytes, sizeof(bytes));
	return good;
}

Seal *
seal_read(const PGresult *result)
{
	int			count = PQntuples(result);
	Seal	   *seal = calloc(1, sizeof(Seal) + (size_t) count * sizeof(SealKey));

	for (int i = 0; seal != NULL && i < count; i++)
		if (read_key(PQgetvalue(result, i, 0), &seal->keys[seal->count]))
			seal->count++;
		else
			log_error("a key for positions cannot be used", F_INT("number", i));
	if (seal == NULL || seal->count > 0)
		return seal;
	free(seal);
	return NULL;
}

void
seal_free(Seal *seal)
{
	for (int i = 0; seal != NULL && i < seal->count; i++)
		gnutls_aead_cipher_deinit(seal->keys[i].cipher);
	free(seal);
}

static const SealKey *
key_of(const Seal *seal, const char *text)
{
	size_t		len = strcspn(text, ".");

	for (int i = 0; text[len] == '.' && i < seal->count; i++)
		if (strlen(seal->keys[i].id) == len && memcmp(seal->keys[i].id, text, len) == 0)
			return &seal->keys[i];
	return NULL;
}

bool
seal_has_key(const Seal *seal, const char *text)
{
	return key_of(seal, text) != NULL;
}

void
seal_position(const Seal *seal, const unsigned char *organization, const Position *position, char *text)
{
	const SealKey *key = &seal->keys[0];
	uint32_t	epoch = htobe32(position->epoch);
	uint64_t	tick = htobe64((uint64_t) position->tick);
	uint64_t	seq = htobe64((uint64_t) position->seq);
	unsigned char clear[CLEAR_BYTES];
	unsigned char sealed[SEALED_BYTES];
	size_t		len = SEALED_BYTES - NONCE_BYTES;

	memcpy(clear, &epoch, 4);
	memcpy(clear + 4, &tick, 8);
	memcpy(clear + 12, &seq, 8);
	/* Neither can fail but for a defect; a position in the clear must not be the way out. */
	if (gnutls_rnd(GNUTLS_RND_NONCE, sealed, NONCE_BYTES) != 0 ||
		gnutls_aead_cipher_encrypt(key->cipher, sealed, NONCE_BYTES, organization, ORGANIZATION_BYTES, TAG_BYTES,
								   clear, CLEAR_BYTES, sealed + NONCE_BYTES, &len) != 0)
		abort();
	text = stpcpy(text, key->id);
	*text++ = '.';
	text_base64url(sealed, SEALED_BYTES, text);
}

SealVerdict
seal_open(const Seal *seal, const unsigned char *organization, const char *text, Position *position)
{
	const char *encoded = strchr(text, '.');
	const SealKey *key = key_of(seal, text);
	char		sealed[SEALED_TEXT];
	unsigned char clear[CLEAR_BYTES];
	size_t		len = CLEAR_BYTES;
	uint32_t	epoch;
	uint64_t	tick;
	uint64_t	seq;

	if (encoded == NULL || encoded == text || encoded - text > KEY_ID_MAX || strlen(encoded + 1) != SEALED_TEXT ||
		text_base64url_decode(encoded + 1, SEALED_TEXT, sealed) != SEALED_BYTES)
		return SEAL_BAD;
	if (key == NULL)
		return SEAL_KEY_GONE;
	if (gnutls_aead_cipher_decrypt(key->cipher, sealed, NONCE_BYTES, organization, ORGANIZATION_BYTES, TAG_BYTES,
								   sealed + NONCE_BYTES, SEALED_BYTES - NONCE_BYTES, clear, &len) != 0 || len != CLEAR_BYTES)
		return SEAL_BAD;
	memcpy(&epoch, clear, 4);
	memcpy(&tick, clear + 4, 8);
	memcpy(&seq, clear + 12, 8);
	*position = (Position) {be32toh(epoch), (int64_t) be64toh(tick), (int64_t) be64toh(seq)};
	return SEAL_GOOD;
}
