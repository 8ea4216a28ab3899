#include "kafka-relay/window.h"

#include <stdlib.h>
#include <string.h>

bool
window_init(Window *window, int64_t capacity)
{
	memset(window, 0, sizeof(*window));
	window->slots = calloc((size_t) capacity, sizeof(Slot));
	if (window->slots == NULL)
		return false;
	window->capacity = capacity;
	for (int64_t i = capacity - 1; i >= 0; i--)
	{
		window->slots[i].next = window->free;
		window->free = &window->slots[i];
	}
	return true;
}

void
window_close(Window *window)
{
	window_rewind(window);
	free(window->slots);
	window->slots = NULL;
	window->free = NULL;
}

void
batch_unref(Batch *batch)
{
	if (batch != NULL && --batch->references == 0)
		batch->release(batch);
}

void
window_own(Window *window, int shard, int64_t fence, const Position *from)
{
	WindowShard *state = &window->shards[shard];

	state->owned = true;
	state->leaving = false;
	state->fence = fence;
	state->read = state->done = state->saved = *from;
}

static void
free_slot(Window *window, Slot *slot)
{
	Batch	   *batch = slot->batch;

	window->bytes -= slot->bytes;
	window->used--;
	slot->batch = NULL;
	slot->next = window->free;
	window->free = slot;
	batch_unref(batch);
}

static void
empty_shard(Window *window, WindowShard *state)
{
	while (state->head != NULL)
	{
		Slot	   *slot = state->head;

		state->head = slot->next;
		free_slot(window, slot);
	}
	state->tail = NULL;
	state->read = state->done;
}

void
window_disown(Window *window, int shard)
{
	empty_shard(window, &window->shards[shard]);
	window->shards[shard].owned = false;
	window->shards[shard].leaving = false;
}

Slot *
window_add(Window *window, const Event *event, Batch *batch)
{
	WindowShard *state = &window->shards[event->shard];
	Slot	   *slot = window->free;

	if (slot == NULL)
		return NULL;
	window->free = slot->next;
	slot->position = event->position;
	slot->batch = batch;
	slot->next = NULL;
	slot->shard = event->shard;
	slot->settled = false;
	slot->event = *event;
	slot->bytes = (int64_t) (event->payload.len + event->key.len + event->headers.len + 200);
	memcpy(slot->id, event->id, sizeof(slot->id));
	batch->references++;
	window->used++;
	window->bytes += slot->bytes;
	if (state->tail != NULL)
		state->tail->next = slot;
	else
		state->head = slot;
	state->tail = slot;
	state->read = event->position;
	return slot;
}

void
window_settle(Window *window, Slot *slot)
{
	WindowShard *state = &window->shards[slot->shard];

	slot->settled = true;
	while (state->head != NULL && state->head->settled)
	{
		Slot	   *first = state->head;

		state->done = first->position;
		state->head = first->next;
		if (state->head == NULL)
			state->tail = NULL;
		free_slot(window, first);
	}
	if (state->head == NULL)
		state->done = state->read;
}

void
window_read_to(Window *window, int shard, const Position *position)
{
	WindowShard *state = &window->shards[shard];

	if (position_compare(position, &state->read) > 0)
		state->read = *position;
	if (state->head == NULL)
		state->done = state->read;
}

void
window_rewind(Window *window)
{
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		empty_shard(window, &window->shards[i]);
}
