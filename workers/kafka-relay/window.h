/*
 * What is in flight: one slot per event, in the order of each shard, so that a
 * shard's position moves only past events that are settled without a gap.
 */
#ifndef BACKOFFICE_RELAY_WINDOW_H
#define BACKOFFICE_RELAY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/event.h"

#define WINDOW_MAX_SHARDS 256

/* A fetched batch lives until the last of its events is settled. */
typedef struct Batch
{
	int			references;
	void		(*release) (struct Batch *batch);
} Batch;

typedef struct Slot
{
	Position	position;
	Batch	   *batch;
	struct Slot *next;			/* of its shard, or of the free list */
	int64_t		sent_us;
	int64_t		bytes;
	int32_t		shard;
	bool		settled;
	unsigned char id[16];
	Event	event;			/* points into the batch */
} Slot;

typedef struct WindowShard
{
	bool		owned;
	bool		leaving;		/* another relay wants it: nothing more is added */
	int64_t		fence;
	Position	read;			/* everything up to here was taken from the log */
	Position	done;			/* everything up to here is settled */
	Position	saved;			/* what the database knows */
	Slot	   *head;
	Slot	   *tail;
} WindowShard;

typedef struct Window
{
	WindowShard shards[WINDOW_MAX_SHARDS];
	Slot	   *slots;
	Slot	   *free;
	int64_t		capacity;
	int64_t		used;
	int64_t		bytes;			/* of payloads in flight */
} Window;

extern bool window_init(Window *window, int64_t capacity);
extern void window_close(Window *window);

/* A shard is ours from this position on. */
extern void window_own(Window *window, int shard, int64_t fence, const Position *from);
extern void window_disown(Window *window, int shard);

/* The next event of a shard; NULL: the window is full. Takes a reference to the batch. */
extern Slot *window_add(Window *window, const Event *event, Batch *batch);
extern void window_settle(Window *window, Slot *slot);

/* Everything of the shard up to here was read. */
extern void window_read_to(Window *window, int shard, const Position *position);

/* Forgets everything in flight: the shards will be read again from what is done. */
extern void window_rewind(Window *window);

extern void batch_unref(Batch *batch);

#endif
