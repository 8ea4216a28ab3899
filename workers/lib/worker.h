/* What the mains of all workers share. */
#ifndef BACKOFFICE_WORKER_H
#define BACKOFFICE_WORKER_H

#include <stdbool.h>
#include <stdio.h>

/* host:pid:random, kept for the life of the process. */
extern const char *worker_instance(void);

/* Checks the settings that every worker has and registers the secrets in them; complaints go to err. */
extern bool worker_check(const char *database, const char *log_level, FILE *err);

#endif
