/*
 * One issuer's way: discovery document (kept for a while), key set (by ETag),
 * database.  Any failure ends the round; what the database has stays as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"
#include "lib/utf8.h"
#include "oidc/oidc.h"

#define FORGET_MS (INT64_C(48) * 3600 * 1000)
#define ISSUERS_MAX 10000

static void
leave_network(Issuer *issuer, IssuerPhase phase)
{
	issuer->oidc->fetching--;
	issuer->phase = phase;
}

void
issuer_failed(Issuer *issuer, const char *why, int64_t wait_ms)
{
	Oidc	   *oidc = issuer->oidc;
	int64_t		delay_ms = backoff_next_ms(&issuer->backoff);

	if (issuer->phase == ISSUER_DISCOVERING || issuer->phase == ISSUER_FETCHING)
		leave_network(issuer, ISSUER_IDLE);
	issuer->phase = ISSUER_IDLE;
	issuer->told_to_wait = wait_ms > 0;
	delay_ms = wait_ms > delay_ms ? wait_ms : delay_ms;
	delay_ms = delay_ms > oidc->settings.retry_max_ms ? oidc->settings.retry_max_ms : delay_ms;
	issuer->retry_at_ms = loop_monotonic_ms() + delay_ms;
	metric_add(&metric_failures, 1);
	log_warn("keys not fetched", F_STR("issuer", issuer->name), F_STR("error", why), F_INT("retry_ms", delay_ms));
	snprintf(oidc->last_error, sizeof(oidc->last_error), "%.150s: %.90s", issuer->name, why);
	utf8_mend(oidc->last_error);
}

/* Earlier than asked by up to a tenth, so that workers and issuers do not all come at once. */
static int64_t
with_jitter(int64_t seconds)
{
	uint32_t	random = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return seconds;
	return seconds - (int64_t) (random % (uint64_t) (seconds / 10 + 1));
}

/* An answer that is not 200 (or 304 where that means something). */
static void
answer_failed(Issuer *issuer, const FetchAnswer *answer)
{
	char		why[80];

	if (answer->error != NULL && strstr(answer->error, "not allowed") != NULL)
		metric_add(&metric_refused, 1);
	if (answer->error == NULL)
		snprintf(why, sizeof(why), answer->status >= 300 && answer->status < 400 ? "status %ld: redirects are not followed" :
				 "status %ld", answer->status);
	/* Where the keys are may have changed: ask for it again. */
	issuer->discovered_ms = 0;
	issuer_failed(issuer, answer->error != NULL ? answer->error : why, answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : 0);
}

static bool
keys_arrived(Issuer *issuer, const FetchAnswer *answer)
{
	const char *why = NULL;
	Keys		keys;

	if (!keys_read(answer->body, answer->body_len, &keys, &why))
	{
		issuer->discovered_ms = 0;
		issuer_failed(issuer, why, 0);
		return false;
	}
	metric_add(&metric_keys_dropped, keys.dropped);
	if (keys.private_seen)
		log_error("the issuer publishes a private key: that key is not used", F_STR("issuer", issuer->name));
	if (issuer->jwks == NULL || strcmp(issuer->jwks, keys.jwks) != 0)
		log_info("keys read", F_STR("issuer", issuer->name), F_INT("keys", keys.kept), F_INT("not_for_us", keys.dropped));
	free(issuer->jwks);
	issuer->jwks = keys.jwks;
	snprintf(issuer->etag, sizeof(issuer->etag), "%s", answer->etag != NULL ? answer->etag : "");
	return true;
}

static void
keys_answered(void *context, const FetchAnswer *answer)
{
	Issuer	   *issuer = context;
	const OidcSettings *settings = &issuer->oidc->settings;

	metric_observe_us(&metric_fetch_seconds, (loop_monotonic_ms() - issuer->fetch_started_ms) * 1000);
	if (answer->error == NULL && answer->status == 304 && issuer->jwks != NULL && *issuer->etag != '\0')
		metric_add(&metric_unchanged, 1);
	else if (answer->error != NULL || answer->status != 200)
	{
		answer_failed(issuer, answer);
		return;
	}
	else if (!keys_arrived(issuer, answer))
		return;
	issuer->max_age_s = with_jitter(document_max_age(answer->cache_control, answer->age, settings->default_age_s,
													 settings->min_age_s, settings->max_age_s));
	leave_network(issuer, ISSUER_STORING);
	control_next(issuer->oidc);
}

static void
ask(Issuer *issuer, const char *url, const char *etag, FetchFunction answered)
{
	const char *why;

	issuer->fetch_started_ms = loop_monotonic_ms();
	metric_add(&metric_fetches, 1);
	if (!address_url_good(&issuer->oidc->rules, url, &why))
	{
		metric_add(&metric_refused, 1);
		issuer_failed(issuer, why, 0);
	}
	else if (!fetch_start(&issuer->oidc->fetcher, url, etag, answered, issuer))
		issuer_failed(issuer, "out of memory", 0);
}

static void
ask_for_keys(Issuer *issuer)
{
	issuer->phase = ISSUER_FETCHING;
	ask(issuer, issuer->discovery.jwks_uri, issuer->jwks != NULL ? issuer->etag : "", keys_answered);
}

static void
discovery_answered(void *context, const FetchAnswer *answer)
{
	Issuer	   *issuer = context;
	Discovery	found;
	const char *why = NULL;

	metric_observe_us(&metric_fetch_seconds, (loop_monotonic_ms() - issuer->fetch_started_ms) * 1000);
	if (answer->error != NULL || answer->status != 200)
	{
		answer_failed(issuer, answer);
		return;
	}
	if (!discovery_read(&issuer->oidc->rules, issuer->name, answer->body, answer->body_len, &found, &why))
	{
		issuer_failed(issuer, why, 0);
		return;
	}
	if (issuer->discovery.jwks_uri == NULL || strcmp(issuer->discovery.jwks_uri, found.jwks_uri) != 0)
		issuer->etag[0] = '\0';
	discovery_free(&issuer->discovery);
	issuer->discovery = found;
	issuer->discovered_ms = loop_monotonic_ms();
	ask_for_keys(issuer);
}

static void
ask_for_discovery(Issuer *issuer)
{
	char	   *url = discovery_url(issuer->name);

	issuer->phase = ISSUER_DISCOVERING;
	if (url == NULL)
		issuer_failed(issuer, "out of memory", 0);
	else
		ask(issuer, url, "", discovery_answered);
	free(url);
}

static Issuer *
find(Oidc *oidc, const char *name)
{
	Issuer	   *issuer;
	int			count = 0;

	for (issuer = oidc->issuers; issuer != NULL; issuer = issuer->next, count++)
		if (strcmp(issuer->name, name) == 0)
			return issuer;
	issuer = count < ISSUERS_MAX ? calloc(1, sizeof(*issuer)) : NULL;
	if (issuer == NULL)
		return NULL;
	issuer->name = strdup(name);
	if (issuer->name == NULL)
	{
		free(issuer);
		return NULL;
	}
	issuer->oidc = oidc;
	backoff_init(&issuer->backoff, oidc->settings.retry_ms, oidc->settings.retry_max_ms,
				 (uint64_t) loop_monotonic_ms() * 31 + (uint64_t) count);
	issuer->next = oidc->issuers;
	oidc->issuers = issuer;
	metric_set(&metric_issuers, count + 1);
	return issuer;
}

void
issuer_due(Oidc *oidc, const char *name, bool unknown_key)
{
	Issuer	   *issuer = find(oidc, name);
	int64_t		now = loop_monotonic_ms();

	if (issuer == NULL)
		return;
	issuer->wanted_ms = now;
	/* Somebody waits at the door: failures of before are no reason to leave him there. */
	if (unknown_key && !issuer->told_to_wait)
		issuer->retry_at_ms = 0;
	if (issuer->phase != ISSUER_IDLE || now < issuer->retry_at_ms || oidc->fetching >= oidc->settings.fetches)
		return;
	oidc->fetching++;
	if (issuer->discovered_ms != 0 && now - issuer->discovered_ms < oidc->settings.discovery_age_s * 1000)
		ask_for_keys(issuer);
	else
		ask_for_discovery(issuer);
}

Issuer *
issuer_to_store(Oidc *oidc)
{
	for (Issuer *issuer = oidc->issuers; issuer != NULL; issuer = issuer->next)
		if (issuer->phase == ISSUER_STORING)
			return issuer;
	return NULL;
}

void
issuer_stored(Issuer *issuer)
{
	issuer->phase = ISSUER_IDLE;
	backoff_reset(&issuer->backoff);
	issuer->retry_at_ms = 0;
	metric_add(&metric_stored, 1);
}

static void
issuer_free(Issuer *issuer)
{
	discovery_free(&issuer->discovery);
	free(issuer->jwks);
	free(issuer->name);
	free(issuer);
}

void
issuer_sweep(Oidc *oidc)
{
	int64_t		now = loop_monotonic_ms();
	int			count = 0;

	for (Issuer **at = &oidc->issuers; *at != NULL;)
	{
		Issuer	   *issuer = *at;

		if (issuer->phase == ISSUER_IDLE && now - issuer->wanted_ms > FORGET_MS)
		{
			*at = issuer->next;
			issuer_free(issuer);
			continue;
		}
		at = &issuer->next;
		count++;
	}
	metric_set(&metric_issuers, count);
}

void
issuer_free_all(Oidc *oidc)
{
	while (oidc->issuers != NULL)
	{
		Issuer	   *issuer = oidc->issuers;

		oidc->issuers = issuer->next;
		issuer_free(issuer);
	}
}
