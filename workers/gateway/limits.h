/*
 * Rate limits: token buckets per principal, per address and per class of routes, in
 * memory shared by the processes of one host. A bucket is one number, the time
 * at which it is full again (GCRA), so that taking a token is one compare-and-swap.
 */
#ifndef BACKOFFICE_LIMITS_H
#define BACKOFFICE_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/request.h"

#define LIMITS_BUCKETS 65536	/* a power of two; 1 MiB */
#define LIMITS_CHOICES 8		/* places a key may lie in */

typedef struct Bucket
{
	atomic_uint_fast64_t key;	/* 0: free */
	atomic_int_fast64_t full_at_us;
} Bucket;

typedef struct Limit
{
	int64_t		per_second;		/* 0: none */
	int64_t		burst;
} Limit;

typedef struct Verdict
{
	bool		allowed;
	int64_t		remaining;
	int64_t		retry_after_ms; /* when not allowed */
	int64_t		reset_ms;		/* until the bucket is full */
} Verdict;

/* Takes a token of the bucket of that key. Pure but for the buckets. */
extern Verdict limits_take(Bucket *buckets, uint64_t key, const Limit *limit, int64_t now_us);

/* "auth:address=10/50,read:principal=500/1000,address=...": false: told to err. */
extern bool limits_parse(const char *text, FILE *err);

/* Takes the tokens of this request; false: it was answered with 429. */
extern bool limits_pass(Request *request);

/* begin_request told whose token it is: remembered for a while. */
extern void limits_learn(const char *token, const char *principal);

#endif
