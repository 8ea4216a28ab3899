/*
 * settings.h
 *		The parts of floor 0 that _PG_init starts.
 */
#ifndef BACKOFFICE_SETTINGS_H
#define BACKOFFICE_SETTINGS_H

extern void clock_init(void);
extern void shmem_init(void);
extern void principal_init(void);
extern void storage_init(void);
extern void keys_init(void);

#endif
