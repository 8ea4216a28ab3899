/*
 * core.h
 *		Floor 0: what every context may use.
 *
 * Start-up order, errors with a stable code, the injectable clock, ids, role
 * switching and memory shared by the contexts.  See docs/internals.md.
 */
#ifndef BACKOFFICE_CORE_H
#define BACKOFFICE_CORE_H

#include "postgres.h"

#include "core/compat.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "storage/lwlock.h"
#include "utils/uuid.h"

/* One entry per context that has something to start, called from _PG_init in floor order. */
extern void core_init(void);
extern void events_init(void);
extern void access_init(void);
extern void certificates_init(void);

/* A text argument as a C string, palloc'd; NULL for NULL. */
extern char *bo_arg_text(FunctionCallInfo fcinfo, int number);

/* ---- errors.c: SQLSTATEs that PostgREST maps to the HTTP status, plus a symbolic code ---- */

#define BO_BAD_REQUEST		ERRCODE_INVALID_PARAMETER_VALUE /* 22023 -> 400 */
#define BO_FORBIDDEN		ERRCODE_INSUFFICIENT_PRIVILEGE	/* 42501 -> 403, or 401 for anonymous */
#define BO_READ_ONLY		ERRCODE_READ_ONLY_SQL_TRANSACTION	/* 25006 -> 405 */
#define BO_UNAUTHORIZED		MAKE_SQLSTATE('P','T','4','0','1')
#define BO_NOT_FOUND		MAKE_SQLSTATE('P','T','4','0','4')
#define BO_CONFLICT			MAKE_SQLSTATE('P','T','4','0','9')
#define BO_GONE				MAKE_SQLSTATE('P','T','4','1','0')
#define BO_TOO_LARGE		MAKE_SQLSTATE('P','T','4','1','3')
#define BO_UNPROCESSABLE	MAKE_SQLSTATE('P','T','4','2','2')
#define BO_THROTTLED		MAKE_SQLSTATE('P','T','4','2','9')
#define BO_UNAVAILABLE		MAKE_SQLSTATE('P','T','5','0','3')

/*
 * bo_code: to be used inside ereport() in place of errdetail().  Puts the
 * symbolic code (lower_snake, never renamed once released) into the error's
 * constraint-name field for programs, and "code: detail" into DETAIL for
 * people and for HTTP.
 */
extern int	bo_code(const char *code, const char *fmt,...) pg_attribute_printf(2, 3);

/* The beginning of a text, of at most so many bytes and of whole characters: what "%.64s" would show might end within one. */
extern char *bo_clipped(const char *text, int bytes);

/* ---- clock.c ---- */

/* Transaction time, or what backoffice.frozen_now says (tests only, superuser). */
extern TimestampTz bo_now(void);

/*
 * Microseconds that only ever grow, whatever is done to the clock: for waits and windows within one start of the
 * server. Means nothing by itself; the server's functions for differences of timestamps work with it.
 */
extern TimestampTz bo_monotonic(void);

/* Added to a timestamp: microseconds since 1970. */
#define BO_UNIX_EPOCH_US ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* RFC 3339 in UTC, whatever the session's time zone and DateStyle; palloc'd. */
extern char *bo_time_text(TimestampTz at);

/* ---- uuid.c ---- */

/* A fresh UUIDv7 (RFC 9562), monotonic within this backend. */
extern void bo_uuid7(pg_uuid_t *uuid);
extern char *bo_uuid_text(const pg_uuid_t *uuid);	/* palloc'd, 36 characters */
/* 0 to 15; -1: not a hex digit. */
extern int	bo_hex_digit(char c);
/* The canonical form only, which the type's input function is wider than; false: it is not that. */
extern bool bo_uuid_parse(const char *text, Size length, pg_uuid_t *uuid);

/* ---- user.c: run a stretch of C as one of our NOLOGIN roles ---- */

typedef struct BoUser
{
	Oid			userid;
	int			sec_context;
	int			guc_level;		/* from 17 on: where the search path is undone */
} BoUser;

/* The role is restored by bo_user_restore(), and by (sub)transaction abort on error. */
extern BoUser bo_user_definer(void);	/* backoffice_definer: subject to row-level security */
extern BoUser bo_user_kernel(void); /* backoffice_kernel: sees every organization */
extern BoUser bo_user_owner(void);	/* backoffice_owner: DDL of partitions only */
extern void bo_user_restore(BoUser saved);

/* ---- shmem.c: named shared structs, so that contexts need no hooks of their own ---- */

/*
 * Call from <context>_init().  size() is asked at postmaster start; *address
 * is set in every process that attaches; init() (or NULL) runs once, on zeroed
 * memory.  lock may be NULL, else it receives the named LWLock of this struct.
 */
extern void bo_shmem_register(const char *name, Size (*size) (void), void **address,
							  void (*init) (void *address), LWLock **lock);

#endif
