/* Tickets: a token's stand-in for one stream, for clients that cannot set headers. In memory that the processes share. */
#ifndef BACKOFFICE_EVENTS_TICKET_H
#define BACKOFFICE_EVENTS_TICKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TICKETS 4096
#define TICKET_MAX_TOKEN 8192
#define TICKET_SECRET 24
#define TICKET_TEXT 56			/* slot and secret in hexadecimal, and a NUL */
#define TICKET_LIFETIME_S 30

typedef struct Ticket
{
	atomic_uint_fast64_t state; /* generation, process and phase: see events_ticket.c */
	int64_t		until_us;
	unsigned char secret[TICKET_SECRET];
	char		organization[37];
	char		token[TICKET_MAX_TOKEN];
} Ticket;

typedef enum TicketVerdict
{
	TICKET_GOOD,
	TICKET_TOO_LONG,			/* the token */
	TICKET_NONE_FREE
} TicketVerdict;

/* process: which one of the gateway's this is. organization: "" for the token's own. */
extern TicketVerdict ticket_issue(Ticket *tickets, int process, const char *token, const char *organization, int64_t now_us, char *text);

/* Good once: token and organization are copied out (sizes as above), and wiped. False: there is no such ticket (any more). */
extern bool ticket_take(Ticket *tickets, int process, const char *text, int64_t now_us, char *token, char *organization);

/* The process has ended, whatever it was about: what it was writing, or taking, is wiped and free again. */
extern void tickets_release(Ticket *tickets, int process);

#endif
