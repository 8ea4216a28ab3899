/*
 * keys.h
 *		Keyed hashes and encryption, with keys that the database never holds.
 *
 * The keys stand in the file that backoffice.key_file names, one a line:
 * "<id> <64 hex digits>"; the last line is the current key, the others stay
 * good for what was made with them.  Each purpose ("certificates.code", ...)
 * has keys of its own, derived with HKDF-SHA256.
 *
 * Errors of all functions here: key_file_missing, key_file_unsafe,
 * key_file_malformed, key_unknown, secret_unreadable.
 */
#ifndef BACKOFFICE_KEYS_H
#define BACKOFFICE_KEYS_H

#include "core/core.h"

#define KEY_ID_MAX 16
#define KEYS_MAC_BYTES 32

/* Binds a ciphertext to its row: moved to another row it no longer decrypts. */
typedef struct SecretOwner
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
} SecretOwner;

/* How many keys are loaded.  Number 0 is the current one, then from new to old. */
extern int	keys_count(void);
extern const char *keys_id(int number);

/*
 * HMAC-SHA256 under a purpose's key: (length of id, id, 32 bytes), as a bytea.
 * context (an owner, or NULL) is hashed first: the same secret of two owners
 * hashes differently.
 */
extern bytea *keys_hash(int number, const char *purpose, const SecretOwner *context, const char *data, Size length);

/* Does this secret have that hash?  Takes the same time whatever the answer. */
extern bool keys_hash_matches(const bytea *hash, const char *purpose, const SecretOwner *context,
							  const char *data, Size length);

/* AES-256-GCM under the current key: (length of id, id, 96-bit nonce, ciphertext, 128-bit tag). */
extern bytea *keys_encrypt(const char *purpose, const SecretOwner *owner, const char *data, Size length);

/* The clear text, palloc'd, NUL-terminated; to be wiped by the caller. */
extern char *keys_decrypt(const char *purpose, const SecretOwner *owner, const bytea *secret, Size *length);

/* Was it made with the current key? */
extern bool keys_is_current(const bytea *hash_or_secret);

/* (length of id, id) of the current key: how everything made with it begins. */
extern bytea *keys_current_prefix(void);

/* A key of KEYS_EXPORT_BYTES for a program beside the server, which does that purpose's cryptography itself. */
#define KEYS_EXPORT_BYTES 32
extern void keys_export(int number, const char *purpose, uint8 *out);

/* explicit_bzero and pfree; NULL is fine. */
extern void keys_wipe(char *data, Size length);

/* For keys.c: the file when none is named, in the data directory; made if it has that name and is not there. */
#define KEY_FILE_DEFAULT "backoffice.keys"
extern void key_file_make_default(const char *configured);

/* The server's random bytes, or an error. */
extern void crypto_random(void *bytes, Size length);
extern void crypto_failed(const char *what);

#endif
