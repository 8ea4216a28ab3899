/*
 * Preloaded beside AddressSanitizer's runtime, to wake it first of all.
 *
 * Otherwise the first malloc of the process does, and in a server linked with
 * p11-kit that one is called by a library's constructor that holds glibc's
 * locale lock, which the runtime's start needs too: a deadlock.  Linked with
 * -z initfirst, this constructor runs before any other.
 */
#include <stdlib.h>

__attribute__((constructor)) static void
wake_sanitizer(void)
{
	free(malloc(1));
}
