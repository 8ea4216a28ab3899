/*
 * The parts of real time.
 *
 *	Feed		the log of one database, read once for its listeners
 *	Audience	a feed's live listeners of one organization
 *	Identity	a token and an organization: what it may listen to, checked again and again
 *	Person		a principal, to count its listeners
 *	Listener	one client: either catching up (pages of the log, read as its principal) or live
 */
#ifndef BACKOFFICE_EVENTS_INTERNAL_H
#define BACKOFFICE_EVENTS_INTERNAL_H

#include "gateway/events.h"
#include "gateway/events_filter.h"
#include "gateway/events_format.h"
#include "gateway/events_frame.h"
#include "gateway/events_seal.h"
#include "gateway/events_ticket.h"
#include "gateway/pool.h"
#include "gateway/wire.h"
#include "lib/backoff.h"
#include "lib/event.h"
#include "lib/pg.h"

#define EVENTS_BUCKETS 4096		/* of the hash tables; a power of two */
#define EVENTS_CHECK_SQL_COLUMNS 4
#define EVENTS_TICK_MS 250
#define EVENTS_CHECKS_PER_S 2000	/* looked at because it is time, at most */
#define EVENTS_HELD 64			/* batches kept for those who join */

/* Why a stream is closed; the codes are the WebSocket's. */
#define CLOSE_NO_TOKEN 4401
#define CLOSE_FORBIDDEN 4403
#define CLOSE_SLOW 4408
#define CLOSE_POSITION 4410

typedef struct Listener Listener;
typedef struct CatchUp CatchUp;

typedef struct Audience
{
	struct Feed *feed;
	unsigned char organization[16];
	Listener   *first;
	struct Audience *next;		/* of the bucket */
} Audience;

/* A batch that was dispatched, kept for those who are about to join. */
typedef struct Held
{
	PGresult   *result;
	const char *bytes;
	size_t		len;
	Position	until;
} Held;

typedef struct Feed
{
	struct Events *events;
	Pool	   *pool;
	Pg			pg;
	Backoff		backoff;
	LoopTimer	timer;			/* connect again, look again, or leave */
	bool		connected;		/* and listening to notifications */
	bool		fetching;
	bool		more;
	bool		running;		/* position is valid: there are live listeners */
	Position	position;		/* everything up to here was dispatched */
	uint64_t	run;			/* counts runs: a fetch of an earlier one is not ours */
	uint64_t	fetch_run;
	bool		listening;		/* LISTEN was sent on this connection */
	int			live;
	int			joining;		/* openings and listeners that catch up */
	Held		held[EVENTS_HELD];
	int			held_count;
	size_t		held_bytes;
	Position	held_from;		/* of the first one, or position */
	Audience   *audiences[EVENTS_BUCKETS];
	Seal	   *seal;			/* there before the first listener */
	int64_t		sealed_ms;		/* when its keys were asked for */
	struct Feed *next;
} Feed;

typedef struct Person
{
	char	   *principal;
	int			refs;			/* identities */
	int			listeners;
	struct Person *next;
} Person;

typedef struct Identity
{
	Feed	   *feed;
	unsigned char hash[32];		/* of token and organization asked for */
	char	   *token;
	char	   *asked;			/* organization, or NULL */
	unsigned char organization[16];
	char	   *topics;			/* each with a NUL behind it */
	int			topic_count;
	Person	   *person;
	int64_t		expires_s;		/* 0: never */
	int64_t		checked_ms;		/* when its rights were seen last */
	int64_t		due_ms;
	bool		hinted;			/* something happened: it is looked at by itself, and out of turn */
	struct Check *check;		/* under way */
	int			refs;			/* listeners, and a check under way */
	Listener   *first;
	struct Identity *bucket_next;
	struct Identity *next;		/* by due_ms, nearly */
	struct Identity *previous;
} Identity;

struct Listener
{
	struct Events *events;
	Feed	   *feed;
	Identity   *identity;
	Audience   *audience;		/* NULL: not live */
	CatchUp    *catch_up;		/* NULL: live, or closing */
	Filter	   *filter;			/* NULL: everything */
	FrameReader *frames;		/* NULL: Server-Sent Events */
	Position	cursor;			/* everything up to here was queued for it, or is not for it */
	Position	sent_to;		/* everything up to here was sent, or is not for it */
	Wire		wire;
	int			unanswered;		/* pings of ours */
	int			pongs;			/* queued since the queue was empty */
	uint64_t	number;
	int64_t		opened_ms;
	int64_t		ping_ms;		/* the next one; closing: the end */
	int64_t		sent;
	Chunk	  **queue;			/* a ring */
	int			first;
	int			count;
	int			size;
	size_t		offset;			/* of the first one that is sent */
	size_t		queued;			/* bytes */
	size_t		allowance;		/* that may wait besides: what it joined with */
	bool		overflowed;
	bool		progress;		/* since the last ping, nothing waited at some time */
	bool		watching_out;
	bool		dirty;
	bool		closing;
	bool		shut;
	Listener   *dirty_next;
	Listener   *next;			/* by ping_ms */
	Listener   *previous;
	Listener   *audience_next;
	Listener   *audience_previous;
	Listener   *identity_next;
	Listener   *identity_previous;
};

/* Listeners in the order in which something is to be done for them. */
typedef struct ListenerList
{
	Listener   *first;
	Listener   *last;
} ListenerList;

struct Events
{
	Gateway    *gateway;
	Feed	   *feeds;
	LoopTimer	tick;
	int			listeners;
	uint64_t	next_number;
	ListenerList open;			/* by ping_ms */
	ListenerList closing;
	Listener   *dirty;
	Identity   *identities[EVENTS_BUCKETS];
	Identity   *first_due;
	Identity   *last_due;
	int			identity_count;
	int			checks;			/* under way */
	bool		starting_checks;
	struct Round *round;		/* under way */
	Person	   *persons[EVENTS_BUCKETS];
	Chunk	   *pings[FORMS];	/* without a position */
	CatchUp    *waiting_first;	/* for their turn to read a page */
	CatchUp    *waiting_last;
	int			reading;		/* pages under way */
	bool		starting_pages;
};

/* events_feed.c */
extern Feed *feed_of(Events *events, Pool *pool);
/* A listener whose cursor is the end of the log (at_end) or lies in what is held becomes live. False: it has to read on. */
extern bool feed_join(Listener *listener, bool at_end);
extern void feed_leave(Listener *listener);
/* Somebody may join soon: keep what is dispatched. Each call with +1 is followed by one with -1. */
extern void feed_joining(Feed *feed, int change);
/* A reference to a sign of life with how far the log was read; NULL: none. */
extern Chunk *feed_ping(const Listener *listener);
/* Takes what seal_sql answered. False: there was nothing to seal with. */
extern bool feed_take_seal(Feed *feed, const PGresult *result);
/* Whether the keys may still be those of the key file. */
extern bool feed_seal_fresh(const Feed *feed);
extern void feed_close(Feed *feed);

/* events_dispatch.c */
extern void dispatch_events(Feed *feed, const char *bytes, size_t len);
extern void dispatch_held(Feed *feed, Listener *listener);
/* A page of the log, read as its principal. */
extern void dispatch_page(Listener *listener, const char *bytes, size_t len);
extern void audiences_free(Feed *feed);
extern Audience *audience_of(Feed *feed, const unsigned char *organization, bool make);
extern void audience_add(Audience *audience, Listener *listener);
extern void audience_remove(Listener *listener);

/* events_identity.c */
typedef struct Rights
{
	unsigned char organization[16];
	char	   *topics;			/* owned */
	int			topic_count;
	int64_t		expires_s;
} Rights;

extern const char events_check_sql[];
/* Reads the row of events_check_sql. False: nobody acts, or no memory. */
extern bool rights_read(const PGresult *result, Rights *rights);
/* The organization's UUID, and topics between commas. False: it is none, or no memory. */
extern bool rights_parse(const char *organization, const char *topics, Rights *rights);
/* With a reference for the caller; takes the rights' memory. NULL: out of memory. */
extern Identity *identity_of(Feed *feed, const Request *request, Rights *rights);
extern void identity_unref(Identity *identity);
extern void identity_add(Identity *identity, Listener *listener);
extern void identity_remove(Listener *listener);
extern bool identity_allows(const Identity *identity, const Filter *filter);
/* Something happened that concerns rights. */
extern void identities_hint(Feed *feed, const Event *event);
/* When it is looked at next; alone: by itself, out of turn. */
extern void identity_due(Identity *identity, int64_t due_ms, bool alone);
/* At the end: nobody waits for the checks under way. */
extern void identities_abandon(Events *events);
extern void identities_tick(Events *events, int64_t now_ms);

/* events_rounds.c */
/* Looks at those whose time has come, as many as one statement takes, if none is under way. */
extern void round_start(Events *events, int64_t now_ms);
extern void round_abandon(Events *events);

/* events_catch_up.c */
extern bool catch_up_start(Listener *listener);
/* at_end: the cursor is the end of the log. */
extern void catch_up_join(Listener *listener, bool at_end);
extern void catch_up_stop(Listener *listener);
/* The listener has taken what it was sent. */
extern void catch_up_go_on(Listener *listener);
extern void catch_up_tick(Events *events);

/* events_listener.c */
extern Listener *listener_open(Events *events, Feed *feed, Identity *identity, Filter *filter, Form form, const Wire *wire);
extern void listener_queue(Listener *listener, Chunk *chunk);	/* takes its own reference */
extern void listener_flush(Listener *listener); /* may end it */
extern void listener_mark(Listener *listener);	/* to be flushed by listeners_flush */
extern void listeners_flush(Events *events);
/* Says why, and ends it when that was sent. */
extern void listener_close(Listener *listener, const char *code, const char *message, int close_code);
/* The last chunk, then the end. */
extern void listener_finish(Listener *listener, Chunk *chunk);
extern void listener_end(Listener *listener, const char *why);
extern void listeners_tick(Events *events, int64_t now_ms);
extern Form listener_form(const Listener *listener);

#endif
