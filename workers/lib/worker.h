/* What the mains of all workers share. */
#ifndef BACKOFFICE_WORKER_H
#define BACKOFFICE_WORKER_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/conf.h"

/* Checks the settings that every worker has and registers the secrets in them; complaints go to err. */
extern bool worker_check(const char *database, const char *log_level, FILE *err);

/*
 * The beginning of every main(): reads the settings, fills in *instance where it is empty, has them checked. False: that was all
 * (--help, --check, or something is wrong), and main returns *exit_code.
 */
extern bool worker_settings(const ConfProgram *program, int argc, char **argv, const char **instance, bool (*good) (void), int *exit_code);

/*
 * What the service manager hears, where there is one that wants to (systemd, Type=notify): that we serve, that we are
 * on our way out, and, once per round of the loop, that the loop turns (/health tells the same).
 */
extern void worker_ready(void);
extern void worker_stopping(void);
extern void worker_progress(void);

#endif
