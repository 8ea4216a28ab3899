#include "gateway/tls.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE 262144

static char *
read_file(const char *name, FILE *err)
{
	FILE	   *file = fopen(name, "re");
	char	   *text = file != NULL ? malloc(MAX_FILE + 1) : NULL;
	size_t		len;

	if (text == NULL)
	{
		fprintf(err, "%s: %s\n", name, strerror(errno));
		if (file != NULL)
			fclose(file);
		return NULL;
	}
	len = fread(text, 1, MAX_FILE + 1, file);
	if (ferror(file) || len == 0 || len > MAX_FILE)
	{
		fprintf(err, "%s: cannot be read, is empty, or larger than %d bytes\n", name, MAX_FILE);
		free(text);
		text = NULL;
	}
	else
		text[len] = '\0';
	fclose(file);
	return text;
}

bool
tls_load(Tls *tls, const char *certificate_file, const char *key_file, FILE *err)
{
	memset(tls, 0, sizeof(*tls));
	if (*certificate_file == '\0' && *key_file == '\0')
		return true;
	if (*certificate_file == '\0' || *key_file == '\0')
	{
		fprintf(err, "tls-certificate and tls-key: give both or none\n");
		return false;
	}
	tls->certificate = read_file(certificate_file, err);
	tls->key = tls->certificate != NULL ? read_file(key_file, err) : NULL;
	if (tls->key == NULL)
		tls_free(tls);
	return tls->key != NULL;
}

void
tls_free(Tls *tls)
{
	if (tls->key != NULL)
		explicit_bzero(tls->key, strlen(tls->key));
	free(tls->key);
	free(tls->certificate);
	tls->key = tls->certificate = NULL;
}

unsigned int
tls_options(const Tls *tls, struct MHD_OptionItem *options)
{
	int			n = 0;

	if (tls->certificate != NULL)
	{
		options[n++] = (struct MHD_OptionItem) {MHD_OPTION_HTTPS_MEM_CERT, 0, tls->certificate};
		options[n++] = (struct MHD_OptionItem) {MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key};
		options[n++] = (struct MHD_OptionItem) {MHD_OPTION_HTTPS_PRIORITIES, 0,
			(void *) (uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
	}
	options[n] = (struct MHD_OptionItem) {MHD_OPTION_END, 0, NULL};
	return tls->certificate != NULL ? MHD_USE_TLS : 0;
}
