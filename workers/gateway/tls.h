/* TLS by libmicrohttpd's GnuTLS: certificate and key files. */
#ifndef BACKOFFICE_TLS_H
#define BACKOFFICE_TLS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct Tls
{
	char	   *certificate;	/* PEM; NULL: no TLS */
	char	   *key;
} Tls;

/* Both names empty: no TLS. False: told to err. */
extern bool tls_load(Tls *tls, const char *certificate_file, const char *key_file, FILE *err);
extern void tls_free(Tls *tls);

/* Fills libmicrohttpd's options (at most 8, with the end); returns flags. */
extern unsigned int tls_options(const Tls *tls, struct MHD_OptionItem *options);

#endif
