#include "gateway/methods.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

Method
method_parse(const char *name)
{
	for (int i = 0; i < METHOD_OTHER; i++)
		if (strcmp(names[i], name) == 0)
			return (Method) i;
	return METHOD_OTHER;
}

const char *
method_name(Method method)
{
	return method < METHOD_OTHER ? names[method] : "OTHER";
}

void
method_list(unsigned int methods, char *out, size_t size)
{
	size_t		used = 0;

	out[0] = '\0';
	for (int i = 0; i < METHOD_OTHER && used < size; i++)
		if (methods & 1u << i)
			used += (size_t) snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", names[i]);
}
