/* X-Forwarded-For, believed only from proxies that are named. */
#ifndef BACKOFFICE_PROXIES_H
#define BACKOFFICE_PROXIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A list of addresses, separated by commas. */
extern bool proxies_check(const char *proxies, FILE *err);

/*
 * peer is the socket's address. When it is a trusted proxy, it becomes the last
 * address of the header that is not one.
 */
extern void proxies_apply(const char *proxies, const char *forwarded_for, char *peer, size_t peer_size);

#endif
