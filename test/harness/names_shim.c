/*
 * Preloaded: the name database.test is that of 127.0.0.1; but the name server does not answer as long as the file
 * that NAMES_HANG names is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	int			(*real) (const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found);

	*(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (name == NULL || strcmp(name, "database.test") != 0)
		return real(name, service, hints, found);
	while (access(getenv("NAMES_HANG"), F_OK) == 0)
		usleep(20000);
	return real("127.0.0.1", service, hints, found);
}
