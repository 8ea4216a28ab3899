/*
 * keys.c
 *		The key file, keyed hashes and AES-256-GCM.
 *
 * The file is read by each backend at first use, and again after a reload of
 * the configuration (SIGHUP).  Keys of purposes are derived once and kept,
 * with their OpenSSL contexts, so that a hash or a cipher costs about a
 * microsecond.  A backend that cannot read the new file after a reload says
 * so at the next use, and does not go on with the old keys: which keys are
 * good is the administrator's decision, not a matter of when one connected.
 */
#include "core/keys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "core/settings.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define KEY_BYTES 32
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define MAX_KEYS 32
#define MAX_FILE_BYTES 65536
#define MAX_PURPOSES 16

typedef struct PurposeKey
{
	const char *purpose;		/* a string constant of the caller */
	EVP_MAC_CTX *mac;			/* keyed, to be duplicated */
	EVP_CIPHER_CTX *cipher;		/* keyed for encryption */
	EVP_CIPHER_CTX *decipher;	/* keyed for decryption */
} PurposeKey;

typedef struct Key
{
	char		id[KEY_ID_MAX + 1];
	uint8		secret[KEY_BYTES];
	int			npurposes;
	PurposeKey	purposes[MAX_PURPOSES];
} Key;

static char *key_file;
static bool loaded = false;
static TimestampTz loaded_after;	/* which reading of the configuration */
static Key *keys;				/* newest first; wiped before a reload */
static int	nkeys = 0;
static EVP_MAC *hmac;
static EVP_KDF *hkdf;
static EVP_CIPHER *aes;

static void
forget_keys(const char *newval, void *extra)
{
	loaded = false;
}

void
crypto_failed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("the cryptography library failed: %s", what)));
}

void
crypto_random(void *bytes, Size length)
{
	if (!pg_strong_random(bytes, length))
		crypto_failed("no random bytes");
}

/* ---- the file ---- */

static void
drop_keys(void)
{
	for (int i = 0; i < nkeys; i++)
	{
		for (int j = 0; j < keys[i].npurposes; j++)
		{
			EVP_MAC_CTX_free(keys[i].purposes[j].mac);
			EVP_CIPHER_CTX_free(keys[i].purposes[j].cipher);
			EVP_CIPHER_CTX_free(keys[i].purposes[j].decipher);
		}
	}
	if (keys != NULL)
		explicit_bzero(keys, sizeof(Key) * MAX_KEYS);
	nkeys = 0;
}

/* The whole file, palloc'd; checks what it is and who may read it. */
static char *
read_key_file(Size *length)
{
	struct stat st;
	char	   *text;
	ssize_t		got;
	int			fd;

	if (key_file == NULL || *key_file == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("no key file is configured"),
				 bo_code("key_file_missing", "backoffice.key_file is empty"),
				 errhint("Write a line \"<id> <64 hex digits>\" into a file that only the server's user may read, name it in backoffice.key_file and reload.")));

	/* O_NONBLOCK: what turns out to be no plain file, a pipe, is not waited for. */
	fd = OpenTransientFile(key_file, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not open the key file: %m"),
				 bo_code("key_file_missing", "the file named by backoffice.key_file cannot be opened"),
				 errhint("The file must exist and be readable by the server's operating-system user.")));
	if (fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not examine the key file: %m"),
				 bo_code("key_file_missing", "the file named by backoffice.key_file cannot be examined")));
	if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the key file is open to others"),
				 bo_code("key_file_unsafe", "it must be a plain file with no permissions for group and others"),
				 errhint("chmod 600 the file.")));
	if (st.st_size > MAX_FILE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the key file is too long"),
				 bo_code("key_file_malformed", "at most %d bytes", MAX_FILE_BYTES)));
	text = palloc(st.st_size + 1);
	got = read(fd, text, st.st_size);
	CloseTransientFile(fd);
	if (got != st.st_size)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not read the key file"),
				 bo_code("key_file_missing", "the file named by backoffice.key_file cannot be read")));
	text[got] = '\0';
	*length = got;
	return text;
}

static void
malformed_line(int line, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("the key file is malformed at line %d", line),
			 bo_code("key_file_malformed", "%s", why),
			 errhint("Each line is \"<id> <64 hex digits>\"; ids are 1 to %d letters, digits, \"-\" or \"_\", each once; lines that begin with \"#\" are comments.", KEY_ID_MAX)));
}

/* One line into keys[nkeys]; blank lines and comments add nothing. */
static void
parse_line(char *line, int number)
{
	Size		id_length;
	Key		   *key;

	line += strspn(line, " \t\r");
	if (*line == '\0' || *line == '#')
		return;
	if (nkeys == MAX_KEYS)
		malformed_line(number, "too many keys");
	key = &keys[nkeys];
	memset(key, 0, sizeof(Key));

	id_length = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	if (id_length < 1 || id_length > KEY_ID_MAX || (line[id_length] != ' ' && line[id_length] != '\t'))
		malformed_line(number, "the line does not begin with an id and a space");
	memcpy(key->id, line, id_length);
	for (int i = 0; i < nkeys; i++)
		if (strcmp(keys[i].id, key->id) == 0)
			malformed_line(number, "the id stands there twice");

	line += id_length;
	line += strspn(line, " \t");
	for (int i = 0; i < KEY_BYTES; i++)
	{
		int			high = bo_hex_digit(line[0]);
		int			low = high < 0 ? -1 : bo_hex_digit(line[1]);

		if (low < 0)
			malformed_line(number, "the key does not have 64 hex digits");
		key->secret[i] = (uint8) (high << 4 | low);
		line += 2;
	}
	if (line[strspn(line, " \t\r")] != '\0')
		malformed_line(number, "something follows the 64 hex digits");
	nkeys++;
}

static void
load_keys(void)
{
	Size		length;
	char	   *text = read_key_file(&length);
	char	   *line = text;

	loaded = false;
	if (keys == NULL)
		keys = MemoryContextAllocZero(TopMemoryContext, sizeof(Key) * MAX_KEYS);
	drop_keys();
	for (int number = 1; line != NULL; number++)
	{
		char	   *end = strchr(line, '\n');

		if (end != NULL)
			*end++ = '\0';
		parse_line(line, number);
		line = end;
	}
	explicit_bzero(text, length);
	pfree(text);
	if (nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the key file holds no key"),
				 bo_code("key_file_malformed", "it has no line \"<id> <64 hex digits>\"")));

	/* The last line is the current key: newest first from here on. */
	for (int i = 0, j = nkeys - 1; i < j; i++, j--)
	{
		Key			swap = keys[i];

		keys[i] = keys[j];
		keys[j] = swap;
		explicit_bzero(&swap, sizeof(swap));
	}
	loaded = true;
	loaded_after = PgReloadTime;
}

/* Not left to the setting's hook alone: a setting that stands nowhere is not assigned again by a reload. */
static inline bool
keys_are_fresh(void)
{
	return loaded && loaded_after == PgReloadTime;
}

static void
need_keys(void)
{
	if (keys_are_fresh())
		return;
	if (key_file != NULL)
		key_file_make_default(key_file);
	load_keys();
}

int
keys_count(void)
{
	need_keys();
	return nkeys;
}

const char *
keys_id(int number)
{
	need_keys();
	Assert(number >= 0 && number < nkeys);
	return keys[number].id;
}

static Key *
key_by_id(const uint8 *id, int length)
{
	if (!keys_are_fresh())
		load_keys();
	for (int i = 0; i < nkeys; i++)
		if (strlen(keys[i].id) == length && memcmp(keys[i].id, id, length) == 0)
			return &keys[i];
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key \"%.*s\" is not in the key file", Min(length, KEY_ID_MAX), (const char *) id),
			 bo_code("key_unknown", "a stored secret was made with it"),
			 errhint("Put the line of that key back into the key file, before the current one, and reload.")));
	return NULL;				/* keep the compiler quiet */
}

/* ---- derived keys ---- */

static void
derive(const Key *key, const char *purpose, const char *use, uint8 *out)
{
	char		info[128];
	OSSL_PARAM	params[4];
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(hkdf);
	int			ok;

	snprintf(info, sizeof(info), "backoffice/1/%s/%s", purpose, use);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) key->secret, KEY_BYTES);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info));
	params[3] = OSSL_PARAM_construct_end();
	ok = ctx != NULL && EVP_KDF_derive(ctx, out, KEY_BYTES, params) == 1;
	EVP_KDF_CTX_free(ctx);
	if (!ok)
		crypto_failed("HKDF");
}

static void
fetch_algorithms(void)
{
	if (aes != NULL)
		return;
	hmac = hmac ? hmac : EVP_MAC_fetch(NULL, "HMAC", NULL);
	hkdf = hkdf ? hkdf : EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (hmac == NULL || hkdf == NULL)
		crypto_failed("no HMAC or HKDF");
	aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (aes == NULL)
		crypto_failed("no AES-256-GCM");
}

/* The contexts of a purpose under a key, made at first use. */
static PurposeKey *
purpose_key(Key *key, const char *purpose)
{
	PurposeKey	made = {purpose};
	uint8		secret[KEY_BYTES];
	OSSL_PARAM	params[2];
	bool		ok;

	for (int i = 0; i < key->npurposes; i++)
		if (key->purposes[i].purpose == purpose || strcmp(key->purposes[i].purpose, purpose) == 0)
			return &key->purposes[i];
	if (key->npurposes == MAX_PURPOSES)
		elog(ERROR, "too many purposes of keys");

	fetch_algorithms();
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *) "SHA256", 0);
	params[1] = OSSL_PARAM_construct_end();
	derive(key, purpose, "hash", secret);
	made.mac = EVP_MAC_CTX_new(hmac);
	ok = made.mac != NULL && EVP_MAC_init(made.mac, secret, KEY_BYTES, params) == 1;
	derive(key, purpose, "encrypt", secret);
	made.cipher = EVP_CIPHER_CTX_new();
	made.decipher = EVP_CIPHER_CTX_new();
	ok = ok && made.cipher != NULL && made.decipher != NULL &&
		EVP_EncryptInit_ex2(made.cipher, aes, secret, NULL, NULL) == 1 &&
		EVP_DecryptInit_ex2(made.decipher, aes, secret, NULL, NULL) == 1;
	explicit_bzero(secret, sizeof(secret));
	if (!ok)
	{
		EVP_MAC_CTX_free(made.mac);
		EVP_CIPHER_CTX_free(made.cipher);
		EVP_CIPHER_CTX_free(made.decipher);
		crypto_failed("could not set a key");
	}
	key->purposes[key->npurposes] = made;
	return &key->purposes[key->npurposes++];
}

/* ---- hashing ---- */

static void
hmac_of(Key *key, const char *purpose, const SecretOwner *context, const char *data, Size length, uint8 *mac)
{
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(purpose_key(key, purpose)->mac);
	bool		ok = ctx != NULL;

	if (ok && context != NULL)
		ok = EVP_MAC_update(ctx, (const uint8 *) context, sizeof(SecretOwner)) == 1;
	ok = ok && EVP_MAC_update(ctx, (const uint8 *) data, length) == 1 &&
		EVP_MAC_final(ctx, mac, NULL, KEYS_MAC_BYTES) == 1;
	EVP_MAC_CTX_free(ctx);
	if (!ok)
		crypto_failed("HMAC");
}

/* Puts (length of id, id) down; returns where the rest goes. */
static uint8 *
put_id(uint8 *to, const Key *key)
{
	Size		length = strlen(key->id);

	*to++ = (uint8) length;
	memcpy(to, key->id, length);
	return to + length;
}

bytea *
keys_hash(int number, const char *purpose, const SecretOwner *context, const char *data, Size length)
{
	Key		   *key;
	bytea	   *result;
	Size		size;

	need_keys();
	Assert(number >= 0 && number < nkeys);
	key = &keys[number];
	size = VARHDRSZ + 1 + strlen(key->id) + KEYS_MAC_BYTES;
	result = palloc(size);
	SET_VARSIZE(result, size);
	hmac_of(key, purpose, context, data, length, put_id((uint8 *) VARDATA(result), key));
	return result;
}

/* The key named in front of a hash or ciphertext; *rest is what follows, at least minimum bytes. */
static Key *
key_of(const bytea *stored, Size minimum, const uint8 **rest, Size *rest_length)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(stored);
	Size		size = VARSIZE_ANY_EXHDR(stored);

	if (size < 1 || bytes[0] < 1 || bytes[0] > KEY_ID_MAX || size < 1 + bytes[0] + minimum)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored secret is damaged"),
				 bo_code("secret_unreadable", "it is too short")));
	*rest = bytes + 1 + bytes[0];
	*rest_length = size - 1 - bytes[0];
	return key_by_id(bytes + 1, bytes[0]);
}

bool
keys_hash_matches(const bytea *hash, const char *purpose, const SecretOwner *context, const char *data, Size length)
{
	const uint8 *stored;
	Size		stored_length;
	Key		   *key = key_of(hash, KEYS_MAC_BYTES, &stored, &stored_length);
	uint8		mac[KEYS_MAC_BYTES];

	hmac_of(key, purpose, context, data, length, mac);
	return stored_length == KEYS_MAC_BYTES && CRYPTO_memcmp(mac, stored, KEYS_MAC_BYTES) == 0;
}

bool
keys_is_current(const bytea *hash_or_secret)
{
	const uint8 *rest;
	Size		length;

	return key_of(hash_or_secret, 0, &rest, &length) == &keys[0];
}

bytea *
keys_current_prefix(void)
{
	bytea	   *prefix;
	Size		size;

	need_keys();
	size = VARHDRSZ + 1 + strlen(keys[0].id);
	prefix = palloc(size);
	SET_VARSIZE(prefix, size);
	(void) put_id((uint8 *) VARDATA(prefix), &keys[0]);
	return prefix;
}

/* ---- encryption ---- */

bytea *
keys_encrypt(const char *purpose, const SecretOwner *owner, const char *data, Size length)
{
	PurposeKey *secret;
	bytea	   *result;
	uint8	   *nonce;
	int			n;
	Size		size;

	need_keys();
	if (length > MaxAllocSize / 2)
		elog(ERROR, "too long to encrypt");
	secret = purpose_key(&keys[0], purpose);
	size = VARHDRSZ + 1 + strlen(keys[0].id) + NONCE_BYTES + length + TAG_BYTES;
	result = palloc(size);
	SET_VARSIZE(result, size);
	nonce = put_id((uint8 *) VARDATA(result), &keys[0]);
	crypto_random(nonce, NONCE_BYTES);
	if (EVP_EncryptInit_ex2(secret->cipher, NULL, NULL, nonce, NULL) != 1 ||
		EVP_EncryptUpdate(secret->cipher, NULL, &n, (const uint8 *) owner, sizeof(SecretOwner)) != 1 ||
		EVP_EncryptUpdate(secret->cipher, nonce + NONCE_BYTES, &n, (const uint8 *) data, (int) length) != 1 ||
		EVP_EncryptFinal_ex(secret->cipher, nonce + NONCE_BYTES + length, &n) != 1 ||
		EVP_CIPHER_CTX_ctrl(secret->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES,
							nonce + NONCE_BYTES + length) != 1)
		crypto_failed("AES-256-GCM");
	return result;
}

char *
keys_decrypt(const char *purpose, const SecretOwner *owner, const bytea *stored, Size *length)
{
	const uint8 *nonce;
	Size		rest;
	Key		   *key = key_of(stored, NONCE_BYTES + TAG_BYTES, &nonce, &rest);
	EVP_CIPHER_CTX *ctx = purpose_key(key, purpose)->decipher;
	char	   *clear;
	int			n;

	*length = rest - NONCE_BYTES - TAG_BYTES;
	clear = palloc(*length + 1);
	if (EVP_DecryptInit_ex2(ctx, NULL, NULL, nonce, NULL) != 1 ||
		EVP_DecryptUpdate(ctx, NULL, &n, (const uint8 *) owner, sizeof(SecretOwner)) != 1 ||
		EVP_DecryptUpdate(ctx, (uint8 *) clear, &n, nonce + NONCE_BYTES, (int) *length) != 1 ||
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, (void *) (nonce + NONCE_BYTES + *length)) != 1 ||
		EVP_DecryptFinal_ex(ctx, (uint8 *) clear + *length, &n) != 1)
	{
		keys_wipe(clear, *length);
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored secret does not decrypt"),
				 bo_code("secret_unreadable", "key \"%s\" is not the one it was made with, or the row was changed", key->id),
				 errhint("Check that the key file holds the same key under this id as before.")));
	}
	clear[*length] = '\0';
	return clear;
}

void
keys_export(int number, const char *purpose, uint8 *out)
{
	need_keys();
	Assert(number >= 0 && number < nkeys);
	fetch_algorithms();
	derive(&keys[number], purpose, "export", out);
}

void
keys_wipe(char *data, Size length)
{
	if (data == NULL)
		return;
	explicit_bzero(data, length);
	pfree(data);
}

void
keys_init(void)
{
	DefineCustomStringVariable("backoffice.key_file",
							   "File with the keys for stored secrets; the last line is the current key.",
							   "Lines \"<id> <64 hex digits>\"; readable by the server's user only. A relative name lies in the data directory; the default file is made when it is first needed.",
							   &key_file, KEY_FILE_DEFAULT, PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, forget_keys, NULL);
}
