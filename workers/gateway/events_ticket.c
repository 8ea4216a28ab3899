#include "gateway/events_ticket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "gateway/gateway.h"

#define SLOT_DIGITS 4
#define TRIES 32

/* The state is a generation, counted up at each change, the process that changed it, and a phase. */
#define PHASE(state) ((state) & 3)
#define PROCESS(state) ((int) ((state) >> 2 & 63))
#define NEXT(state, process, phase) ((((state) >> 8) + 1) << 8 | (uint_fast64_t) (process) << 2 | (phase))

_Static_assert(GATEWAY_MAX_PROCESSES <= 64, "a process is six bits of a ticket's state");

enum
{
	PHASE_FREE,
	PHASE_WRITING,
	PHASE_READY
};

static bool
claim(Ticket *ticket, int process, int64_t now_us, uint_fast64_t *state)
{
	*state = atomic_load(&ticket->state);
	if (PHASE(*state) == PHASE_WRITING || (PHASE(*state) == PHASE_READY && ticket->until_us > now_us))
		return false;
	if (!atomic_compare_exchange_strong(&ticket->state, state, NEXT(*state, process, PHASE_WRITING)))
		return false;
	*state = NEXT(*state, process, PHASE_WRITING);
	return true;
}

TicketVerdict
ticket_issue(Ticket *tickets, int process, const char *token, const char *organization, int64_t now_us, char *text)
{
	uint32_t	start;

	if (strlen(token) >= TICKET_MAX_TOKEN)
		return TICKET_TOO_LONG;
	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		return TICKET_NONE_FREE;
	for (uint32_t i = 0; i < TRIES; i++)
	{
		uint32_t	slot = (start + i) % TICKETS;
		Ticket	   *ticket = &tickets[slot];
		uint_fast64_t state;

		if (!claim(ticket, process, now_us, &state))
			continue;
		if (getrandom(ticket->secret, TICKET_SECRET, 0) != TICKET_SECRET)
		{
			atomic_store(&ticket->state, NEXT(state, process, PHASE_FREE));
			return TICKET_NONE_FREE;
		}
		ticket->until_us = now_us + TICKET_LIFETIME_S * INT64_C(1000000);
		snprintf(ticket->organization, sizeof(ticket->organization), "%s", organization);
		memcpy(ticket->token, token, strlen(token) + 1);
		text += sprintf(text, "%0*x", SLOT_DIGITS, slot);
		for (int j = 0; j < TICKET_SECRET; j++)
			text += sprintf(text, "%02x", ticket->secret[j]);
		atomic_store(&ticket->state, NEXT(state, process, PHASE_READY));
		return TICKET_GOOD;
	}
	return TICKET_NONE_FREE;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
parse(const char *text, uint32_t *slot, unsigned char *secret)
{
	*slot = 0;
	if (strlen(text) != SLOT_DIGITS + 2 * TICKET_SECRET)
		return false;
	for (int i = 0; i < SLOT_DIGITS + 2 * TICKET_SECRET; i++)
		if (hex(text[i]) < 0)
			return false;
	for (int i = 0; i < SLOT_DIGITS; i++)
		*slot = *slot * 16 + (uint32_t) hex(*text++);
	for (int i = 0; i < TICKET_SECRET; i++, text += 2)
		secret[i] = (unsigned char) (hex(text[0]) * 16 + hex(text[1]));
	return *slot < TICKETS;
}

bool
ticket_take(Ticket *tickets, int process, const char *text, int64_t now_us, char *token, char *organization)
{
	unsigned char secret[TICKET_SECRET];
	unsigned char difference = 0;
	uint32_t	slot;
	uint_fast64_t state;
	Ticket	   *ticket;

	if (!parse(text, &slot, secret))
		return false;
	ticket = &tickets[slot];
	state = atomic_load(&ticket->state);
	if (PHASE(state) != PHASE_READY)
		return false;
	for (int i = 0; i < TICKET_SECRET; i++)
		difference |= (unsigned char) (secret[i] ^ ticket->secret[i]);
	if (difference != 0 || ticket->until_us <= now_us)
		return false;
	/* Of two at once one gets it; a wrong guess has not touched it. */
	if (!atomic_compare_exchange_strong(&ticket->state, &state, NEXT(state, process, PHASE_WRITING)))
		return false;
	state = NEXT(state, process, PHASE_WRITING);
	memcpy(token, ticket->token, TICKET_MAX_TOKEN);
	memcpy(organization, ticket->organization, sizeof(ticket->organization));
	explicit_bzero(ticket->token, sizeof(ticket->token));
	explicit_bzero(ticket->secret, sizeof(ticket->secret));
	atomic_store(&ticket->state, NEXT(state, process, PHASE_FREE));
	return true;
}

void
tickets_release(Ticket *tickets, int process)
{
	for (int i = 0; i < TICKETS; i++)
	{
		Ticket	   *ticket = &tickets[i];
		uint_fast64_t state = atomic_load(&ticket->state);

		if (PHASE(state) != PHASE_WRITING || PROCESS(state) != process)
			continue;
		explicit_bzero(ticket->token, sizeof(ticket->token));
		explicit_bzero(ticket->secret, sizeof(ticket->secret));
		atomic_store(&ticket->state, NEXT(state, process, PHASE_FREE));
	}
}
