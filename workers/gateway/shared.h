/* The anonymous mapping that the processes of one gateway share. */
#ifndef BACKOFFICE_SHARED_H
#define BACKOFFICE_SHARED_H

#include "gateway/events_ticket.h"
#include "gateway/limits.h"
#include "gateway/stats.h"

typedef struct Shared
{
	atomic_int_fast64_t restarts;
	Bucket		buckets[LIMITS_BUCKETS];
	Ticket		tickets[TICKETS];
	ProcessStats processes[];
} Shared;

#endif
