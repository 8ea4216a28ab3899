/*
 * events.h
 *		What the contexts use of the event log.
 */
#ifndef BACKOFFICE_EVENTS_H
#define BACKOFFICE_EVENTS_H

#include "core/core.h"
#include "utils/jsonb.h"

#define EVENT_KEY_MAX	1024	/* bytes */
#define EVENT_TYPE_MAX	255

/*
 * Emit on behalf of a context (the right to the topic is not checked: the
 * context has checked its own).  organization NULL = the principal's,
 * &events_of_nobody = none, whoever acts; id NULL = a fresh UUIDv7; headers and
 * key may be NULL.  Returns the id.
 */
extern const pg_uuid_t events_of_nobody;
extern pg_uuid_t events_emit(const char *topic, const char *key, const char *type,
							 Jsonb *payload, Jsonb *headers,
							 const pg_uuid_t *organization, const pg_uuid_t *id);

/* Error organization_required where a user acts for no organization: what is emitted would be the system's. */
extern void events_require_organization(void);

/* Error event_too_large: what may be emitted can be read as text as well. */
extern void events_check_size(Jsonb *payload, Jsonb *headers);

/*
 * The function runs in the keeper of each database every interval_ms, in its
 * own transaction, as backoffice_kernel with no principal; it returns true if
 * there is more to do now.  Call from <context>_init().
 */
typedef bool (*KeeperTask) (void);
extern void events_register_keeper_task(const char *name, int interval_ms, KeeperTask task);

/*
 * For one of many things that a task does: in a subtransaction, which waits for
 * nobody's lock for long.  True if it was done; false if it failed and was undone.
 * what NULL: nothing is said of a failure; else it is named in the server's log,
 * at most once a minute.  Only the end of the task's time is raised.
 */
extern bool events_keeper_try(void (*work) (void *arg), void *arg, const char *what);

/* The process that runs these tasks in this database; 0: none just now. */
extern int	events_keeper_pid(void);

#endif
