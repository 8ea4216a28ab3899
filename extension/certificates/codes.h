/*
 * codes.h
 *		Codes and CVCs: their form, their hashes, their ciphertexts.
 */
#ifndef BACKOFFICE_CODES_H
#define BACKOFFICE_CODES_H

#include "core/keys.h"

#define CODE_MIN 4				/* symbols, after normalisation */
#define CODE_MAX 64
#define CODE_BYTES_MAX 128		/* as written */
#define CVC_MIN 3
#define CVC_MAX 8

#define PURPOSE_CODE_INDEX	"certificates.code_index"
#define PURPOSE_CODE		"certificates.code"
#define PURPOSE_CVC			"certificates.cvc"

/*
 * What a code is looked up by: capital letters, without spaces, "-", "_" and
 * ".", O read as 0, I and L as 1.  Returns the length, or 0 when this is not
 * a code.  normal has room for CODE_MAX + 1 bytes.
 */
extern int	code_normalise(const char *written, Size length, char *normal);

/* Is the last symbol the check symbol of those before? */
extern bool code_check_symbol_matches(const char *normal, int length);

extern bool cvc_is_well_formed(const char *cvc, Size length);

/* The blind index of a normalised code, under loaded key number n. */
extern bytea *code_index(int key_number, const pg_uuid_t *organization, const char *normal, int length);

/* A new code of 20 symbols in groups of five: 95 random bits and a check symbol. */
#define GENERATED_CODE_BYTES 24
extern void code_generate(char *code);
extern void cvc_generate(char *cvc, int digits);

#endif
