/* Names of methods. */
#ifndef BACKOFFICE_METHODS_H
#define BACKOFFICE_METHODS_H

#include <stddef.h>

#include "gateway/request.h"

extern Method method_parse(const char *name);
extern const char *method_name(Method method);

/* "GET, HEAD, POST" of bits 1 << method. */
extern void method_list(unsigned int methods, char *out, size_t size);

#endif
