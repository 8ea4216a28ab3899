/*
 * The relay's state and the parts it is made of.
 *
 * One thread runs the loop.  reader fetches batches of the log (one ahead of what
 * is being produced) and hears notifications; control holds the leases, moves the
 * positions, parks events and sends heartbeats.  librdkafka's threads send.
 *
 * Nothing is remembered outside the database: after any trouble the relay throws
 * away what is in flight, makes a new producer and reads again from the last
 * position that is settled (relay_rewind).  What was sent twice has the same id.
 */
#ifndef BACKOFFICE_RELAY_H
#define BACKOFFICE_RELAY_H

#include <librdkafka/rdkafka.h>

#include "lib/event.h"
#include "kafka-relay/fetched.h"
#include "kafka-relay/guard.h"
#include "kafka-relay/idset.h"
#include "kafka-relay/proof.h"
#include "kafka-relay/step.h"
#include "kafka-relay/window.h"
#include "lib/backoff.h"
#include "lib/loop.h"
#include "lib/metrics.h"
#include "lib/pg.h"

#define PARK_WAITING "waits behind a parked event of its key"
#define RELAY_QUEUED_BATCHES 2

typedef struct RelaySettings
{
	const char *database;
	const char *consumer;
	const char *instance;
	const char *bootstrap;
	const char *kafka_config;
	const char *source;
	const char *log_level;
	const char *compression;
	const char *topics;
	int64_t		port;
	int64_t		shards;
	int64_t		lease_ms;
	int64_t		advance_ms;
	int64_t		advance_events;
	int64_t		drain_ms;
	int64_t		linger_ms;
	int64_t		batch_events;
	int64_t		batch_bytes;
	int64_t		window_events;
	int64_t		window_bytes;
	int64_t		message_max_bytes;
	int64_t		batch_limit_bytes;	/* of a produce request: what the topics allow */
	int64_t		replication;
	int64_t		in_flight;
	int64_t		statement_timeout_ms;
	int64_t		heartbeat_ms;
} RelaySettings;

typedef enum TopicState
{
	TOPIC_UNKNOWN,				/* to be asked for */
	TOPIC_ASKED,
	TOPIC_READY,
	TOPIC_REFUSED				/* the broker won't have it: its events are parked */
} TopicState;

typedef struct RelayTopic
{
	int32_t		id;
	char		name[250];
	int			partitions;
	int64_t		retention_ms;
	int64_t		max_bytes;		/* of a record, 0: not known */
	TopicState	state;
	char		why[200];		/* refused */
	int64_t		refused_ms;		/* when */
	rd_kafka_topic_t *handle;	/* of the present producer */
	Proof	   *proof;			/* of the present producer */
} RelayTopic;

typedef struct Park
{
	struct Park *next;
	Slot	   *slot;
	char		reason[200];
} Park;

typedef struct Relay
{
	Loop		loop;
	RelaySettings settings;
	Window		window;
	IdSet		held_keys;
	IdSet		suspects;
	Step		step;

	/* reader */
	Pg			reader;
	Backoff		reader_backoff;
	LoopTimer	reader_timer;	/* reconnect */
	LoopTimer	look_timer;		/* look again without a notification */
	bool		fetching;
	bool		more;			/* the log may have more than was fetched */
	uint64_t	generation;		/* of the fetched batches: a rewind makes them stale */
	uint64_t	fetch_generation;
	int64_t		round_us;		/* when the present round of producing began */
	int64_t		round_ms;		/* the same by loop_monotonic_ms() */
	Position	fetched[WINDOW_MAX_SHARDS];
	bool		fetch_has[WINDOW_MAX_SHARDS];	/* the shards of the running fetch */
	Position	merge_to;		/* shards up to here are fetched together */
	FetchedBatch *queued[RELAY_QUEUED_BATCHES]; /* [0] is being produced */
	int			queued_count;

	/* control */
	Pg			control;
	Backoff		control_backoff;
	LoopTimer	control_timer;	/* reconnect */
	LoopTimer	renew_timer;
	LoopTimer	lease_timer;	/* when the leases run out */
	LoopTimer	advance_timer;
	LoopTimer	heartbeat_timer;
	LoopTimer	topics_timer;
	LoopTimer	topics_ask_timer;
	bool		want_renew;
	bool		want_advance;
	bool		want_heartbeat;
	bool		want_topics;
	bool		topics_loaded;
	int32_t		missing_topic;	/* of an event that waits; 0: none does */
	int64_t		renew_sent_ms;
	int64_t		leased_until_ms;	/* what is ours is ours no longer than that */
	Guard		guard;
	int64_t		settled_since_advance;
	Position	advancing[WINDOW_MAX_SHARDS];
	bool		advancing_has[WINDOW_MAX_SHARDS];

	/* parked.c */
	Park	   *parks;			/* to be written, in order */
	Park	  **parks_end;
	Park	   *parking;		/* being written */
	LoopTimer	due_timer;
	bool		want_due;
	bool		want_free;
	bool		want_held;
	bool		held_loaded;
	PGresult   *due_rows;		/* parked events that were given free */
	int			due_next;
	Slot		due_slot;
	bool		due_sent;		/* due_slot is on its way, or waits to be unparked */
	bool		due_moved;		/* one of due_rows was sent, or parked again */
	IdSet		due_held;		/* keys of which one was refused again in this round */

	/* producer */
	rd_kafka_t *producer;
	rd_kafka_queue_t *queue;
	int			queue_fd;
	rd_kafka_t *alone;			/* sends one message at a time, made when needed */
	Slot	   *alone_slot;
	bool		want_rewind;
	char		rewind_why[200];
	Backoff		producer_backoff;
	LoopTimer	producer_timer;
	LoopTimer	alone_timer;

	RelayTopic *topics;			/* by id */
	int			topic_count;
	int			topic_size;		/* of the array */

	bool		draining;
	int64_t		drain_until_ms;
	int			exit_code;
	char		last_error[200];
} Relay;

/* relay.c */
extern void relay_produce(Relay *relay);	/* as much of the queued batches as fits */
extern void relay_delivered(Relay *relay, Slot *slot, rd_kafka_resp_err_t err);
extern void relay_park(Relay *relay, Slot *slot, const char *reason);
extern void relay_want_rewind(Relay *relay, const char *why);
extern void relay_rewind(Relay *relay);
extern void relay_drop_batches(Relay *relay);
extern void relay_note_error(Relay *relay, const char *error);

/* source.c */
extern void source_init(Relay *relay);
extern void source_look(Relay *relay);	/* fetch, when there is room and reason */
extern void source_restart(Relay *relay, int shard);	/* fetch the shard from what is settled */
extern void source_restart_all(Relay *relay);	/* the same with all that are ours, and with what was fetched thrown away */

/* control.c */
extern void control_init(Relay *relay);
extern void control_next(Relay *relay);	/* the most urgent thing to tell the database */
extern void control_finish(Relay *relay);	/* last positions, leases given back; waits */

/* produce.c */
extern bool produce_check(const RelaySettings *settings, char *error, size_t size);
extern int64_t produce_clock_us(void);
extern void produce_stop(Relay *relay);
extern rd_kafka_resp_err_t produce_send(Relay *relay, RelayTopic *topic, Slot *slot);
extern bool produce_alone(Relay *relay, RelayTopic *topic, Slot *slot);
extern void produce_init(Relay *relay);

/* topics.c */
extern void topics_init(Relay *relay);
extern RelayTopic *topics_find(Relay *relay, int32_t id);
extern void topics_take(Relay *relay, const PGresult *rows);
extern void topics_ask(Relay *relay);
extern void topics_answered(Relay *relay, rd_kafka_event_t *event);
extern bool topics_try(Relay *relay, RelayTopic *topic);
extern bool topics_settled(const Relay *relay);
extern void topics_producer_gone(Relay *relay);
extern void topics_producer_new(Relay *relay);
extern void topics_free(Relay *relay);

/* metrics of the relay (main.c registers them) */
extern Metric metric_sent,
			metric_acked,
			metric_parked,
			metric_rewinds,
			metric_fetches,
			metric_fetched_events,
			metric_inflight,
			metric_inflight_bytes,
			metric_shards,
			metric_advances,
			metric_reconnects,
			metric_ack_seconds,
			metric_event_seconds;

#endif
