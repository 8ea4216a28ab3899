#include "gateway/limits.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/shared.h"
#include "gateway/text.h"

#define KNOWN_TOKENS 4096		/* per process; a power of two */
#define KNOWN_US 60000000

typedef enum Subject
{
	SUBJECT_ADDRESS,
	SUBJECT_PRINCIPAL,
	SUBJECTS
} Subject;

typedef struct KnownToken
{
	unsigned char hash[32];
	int64_t		until_us;
	char		principal[160];
} KnownToken;

static const char *const class_names[RATE_CLASSES] = {"any", "auth", "read", "write", "rpc", "stream"};
static const char *const subject_names[SUBJECTS] = {"address", "principal"};

static Limit limits[RATE_CLASSES][SUBJECTS];
static KnownToken known[KNOWN_TOKENS];

/* ---- buckets ---- */

/* The bucket of the key: its own, else one that is full anyway (as good as new), else the one that is full soonest. */
static Bucket *
find_bucket(Bucket *buckets, uint64_t key, int64_t now_us)
{
	Bucket	   *best = NULL;
	int64_t		best_at = INT64_MAX;

	for (int i = 0; i < LIMITS_CHOICES; i++)
	{
		Bucket	   *bucket = &buckets[(key + (uint64_t) i) & (LIMITS_BUCKETS - 1)];
		uint64_t	held = atomic_load_explicit(&bucket->key, memory_order_relaxed);
		int64_t		full_at = atomic_load_explicit(&bucket->full_at_us, memory_order_relaxed);

		if (held == key)
			return bucket;
		if (held == 0)
			full_at = INT64_MIN;
		if (full_at < best_at)
		{
			best = bucket;
			best_at = full_at;
		}
	}
	/* Two processes may take the same one at once: one of the keys then starts anew, which errs towards allowing. */
	atomic_store_explicit(&best->key, key, memory_order_relaxed);
	atomic_store_explicit(&best->full_at_us, now_us, memory_order_relaxed);
	return best;
}

Verdict
limits_take(Bucket *buckets, uint64_t key, const Limit *limit, int64_t now_us)
{
	int64_t		interval = 1000000 / limit->per_second > 0 ? 1000000 / limit->per_second : 1;
	int64_t		depth = interval * limit->burst;
	Bucket	   *bucket = find_bucket(buckets, key != 0 ? key : 1, now_us);
	int64_t		full_at = atomic_load_explicit(&bucket->full_at_us, memory_order_relaxed);
	Verdict		verdict;

	for (;;)
	{
		int64_t		from = full_at > now_us ? full_at : now_us;
		int64_t		next = from + interval;

		verdict.allowed = next - now_us <= depth;
		if (!verdict.allowed)
			next = full_at;
		verdict.remaining = (depth - (next > now_us ? next - now_us : 0)) / interval;
		if (verdict.remaining < 0)
			verdict.remaining = 0;
		verdict.reset_ms = next > now_us ? (next - now_us + 999) / 1000 : 0;
		verdict.retry_after_ms = verdict.allowed ? 0 : (next + interval - depth - now_us + 999) / 1000;
		if (!verdict.allowed || atomic_compare_exchange_weak_explicit(&bucket->full_at_us, &full_at, next,
																	  memory_order_relaxed, memory_order_relaxed))
			return verdict;
	}
}

/* ---- settings ---- */

static int
find_name(const char *const *names, int n, const char *text, size_t len)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == len && strncmp(names[i], text, len) == 0)
			return i;
	return -1;
}

static bool
parse_one(const char *item, size_t len)
{
	const char *equals = memchr(item, '=', len);
	const char *colon = equals != NULL ? memchr(item, ':', (size_t) (equals - item)) : NULL;
	char		rate[64];
	int			class;
	int			subject;
	Limit		limit = {0, 0};
	char		end;

	if (colon == NULL || (size_t) (item + len - equals) > sizeof(rate))
		return false;
	class = find_name(class_names, RATE_CLASSES, item, (size_t) (colon - item));
	subject = find_name(subject_names, SUBJECTS, colon + 1, (size_t) (equals - colon - 1));
	snprintf(rate, sizeof(rate), "%.*s", (int) (item + len - equals - 1), equals + 1);
	if (class < 0 || subject < 0 || sscanf(rate, "%" SCNd64 "/%" SCNd64 "%c", &limit.per_second, &limit.burst, &end) != 2)
		return false;
	if (limit.per_second < 1 || limit.per_second > 1000000 || limit.burst < 1 || limit.burst > 1000000)
		return false;
	limits[class][subject] = limit;
	return true;
}

bool
limits_parse(const char *text, FILE *err)
{
	memset(limits, 0, sizeof(limits));
	while (*text != '\0')
	{
		size_t		len = strcspn(text, ",");

		if (!parse_one(text, len))
		{
			fprintf(err, "limits: \"%.*s\" is not class:subject=per_second/burst (class any, auth, read, write, rpc or stream; "
					"subject address or principal; 1 to 1000000)\n", (int) len, text);
			return false;
		}
		text += len;
		text += strspn(text, ", ");
	}
	return true;
}

/* ---- whose token ---- */

static KnownToken *
known_slot(const char *token, unsigned char *hash)
{
	uint32_t	at;

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), hash) != 0)
		return NULL;
	memcpy(&at, hash, sizeof(at));
	return &known[at & (KNOWN_TOKENS - 1)];
}

static bool
principals_limited(void)
{
	for (int i = 0; i < RATE_CLASSES; i++)
		if (limits[i][SUBJECT_PRINCIPAL].per_second > 0)
			return true;
	return false;
}

void
limits_learn(const char *token, const char *principal)
{
	unsigned char hash[32];
	KnownToken *slot;

	if (token == NULL || !principals_limited() || (slot = known_slot(token, hash)) == NULL)
		return;
	memcpy(slot->hash, hash, sizeof(hash));
	slot->until_us = gateway_monotonic_us() + KNOWN_US;
	snprintf(slot->principal, sizeof(slot->principal), "%s", principal);
}

static const char *
principal_of(const char *token, int64_t now_us)
{
	unsigned char hash[32];
	KnownToken *slot = known_slot(token, hash);

	if (slot == NULL || slot->until_us < now_us || memcmp(slot->hash, hash, sizeof(hash)) != 0)
		return NULL;
	return slot->principal;
}

/* ---- requests ---- */

static bool
too_many(Request *request, const Limit *limit, const Verdict *verdict)
{
	char		number[32];

	snprintf(number, sizeof(number), "%" PRId64, (verdict->retry_after_ms + 999) / 1000);
	reply_header(request, "Retry-After", number);
	snprintf(number, sizeof(number), "%" PRId64, limit->burst);
	reply_header(request, "RateLimit-Limit", number);
	snprintf(number, sizeof(number), "%" PRId64, verdict->remaining);
	reply_header(request, "RateLimit-Remaining", number);
	snprintf(number, sizeof(number), "%" PRId64, (verdict->reset_ms + 999) / 1000);
	reply_header(request, "RateLimit-Reset", number);
	stats_count(request->gateway, STAT_LIMITED);
	problem_reply(request, 429, "too_many_requests", "too many requests of this kind in a short time", "Wait for Retry-After seconds.");
	return false;
}

/* An IPv6 address stands for its /64, as at the lockout: whoever has one, has all of them. */
static void
network_of(const char *address, char *network)
{
	unsigned char bytes[16];

	snprintf(network, INET6_ADDRSTRLEN, "%s", address);
	if (inet_pton(AF_INET6, address, bytes) != 1)
		return;
	memset(bytes + 8, 0, 8);
	inet_ntop(AF_INET6, bytes, network, INET6_ADDRSTRLEN);
}

static bool
take(Request *request, int class, Subject subject, const char *who)
{
	const Limit *limit = &limits[class][subject];
	uint64_t	key;
	Verdict		verdict;

	if (limit->per_second == 0 || who == NULL)
		return true;
	key = text_hash64(who, strlen(who)) ^ (uint64_t) (class * SUBJECTS + (int) subject + 1) * UINT64_C(0x9e3779b97f4a7c15);
	verdict = limits_take(request->gateway->shared->buckets, key, limit, gateway_monotonic_us());
	return verdict.allowed || too_many(request, limit, &verdict);
}

/* A function that has a route of its own as a log-in, or the like, is limited as that at /rpc too. */
static int
class_of(const Request *request)
{
	/* Whose routes have handlers. */
	static const char *const others[] = {"oidc_begin", "backchannel_logout"};
	const char *function = request->params[0];

	if (request->route->rate != RATE_RPC)
		return (int) request->route->rate;
	for (int i = 0; i < route_count; i++)
		if (routes[i].rate == RATE_AUTH && routes[i].function != NULL && strcmp(routes[i].function, function) == 0)
			return RATE_AUTH;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(others[i], function) == 0)
			return RATE_AUTH;
	return RATE_RPC;
}

bool
limits_pass(Request *request)
{
	int			class = class_of(request);
	const char *principal = NULL;
	char		network[INET6_ADDRSTRLEN];

	if (class == RATE_NONE)
		return true;
	network_of(request->peer, network);
	if (request->token != NULL && principals_limited())
		principal = principal_of(request->token, request->gateway->now_us);
	return take(request, RATE_NONE, SUBJECT_ADDRESS, network) && take(request, class, SUBJECT_ADDRESS, network) &&
		take(request, RATE_NONE, SUBJECT_PRINCIPAL, principal) && take(request, class, SUBJECT_PRINCIPAL, principal);
}
