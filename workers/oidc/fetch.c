#include "oidc/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "oidc/document.h"

#define HEADER_MAX 512
#define CONNECTIONS_MAX 8

struct Fetch
{
	Fetcher    *fetcher;
	CURL	   *easy;
	struct curl_slist *headers;
	FetchFunction answered;
	void	   *context;
	char	   *body;
	size_t		body_len;
	size_t		body_room;
	AddressDoor door;
	bool		too_large;
	char		cache_control[HEADER_MAX];
	char		age[32];
	char		etag[FETCH_ETAG_MAX];
	char		retry_after[32];
	Fetch	   *next;
};

static void
fetch_free(Fetch *fetch)
{
	for (Fetch **at = &fetch->fetcher->running; *at != NULL; at = &(*at)->next)
		if (*at == fetch)
		{
			*at = fetch->next;
			break;
		}
	if (fetch->easy != NULL)
	{
		curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
		curl_easy_cleanup(fetch->easy);
	}
	curl_slist_free_all(fetch->headers);
	free(fetch->body);
	free(fetch);
}

/* -- what libcurl calls -- */

static size_t
take_body(char *data, size_t size, size_t n, void *context)
{
	Fetch	   *fetch = context;
	size_t		len = size * n;

	if (len > DOCUMENT_MAX_BYTES - fetch->body_len)
	{
		fetch->too_large = true;
		return 0;
	}
	if (fetch->body_len + len > fetch->body_room)
	{
		size_t		room = (fetch->body_len + len) * 2;
		char	   *grown = realloc(fetch->body, room);

		if (grown == NULL)
			return 0;
		fetch->body = grown;
		fetch->body_room = room;
	}
	memcpy(fetch->body + fetch->body_len, data, len);
	fetch->body_len += len;
	return len;
}

/* The value of the header if it is called so: cut to what there is room for, or left out where a part would mislead. */
static void
take_value(const char *line, size_t len, const char *name, char *out, size_t size)
{
	size_t		name_len = strlen(name);
	const char *value;

	if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
		return;
	value = line + name_len + 1;
	len -= name_len + 1;
	while (len > 0 && (*value == ' ' || *value == '\t'))
		value++, len--;
	while (len > 0 && (value[len - 1] == '\r' || value[len - 1] == '\n' || value[len - 1] == ' '))
		len--;
	if (len >= size)
		len = 0;
	memcpy(out, value, len);
	out[len] = '\0';
}

static size_t
take_header(char *data, size_t size, size_t n, void *context)
{
	Fetch	   *fetch = context;
	size_t		len = size * n;

	/* A head begins: what an interim answer (100, 103) said is not the answer's. */
	if (len > 5 && strncmp(data, "HTTP/", 5) == 0)
		fetch->cache_control[0] = fetch->age[0] = fetch->etag[0] = fetch->retry_after[0] = '\0';
	take_value(data, len, "Cache-Control", fetch->cache_control, sizeof(fetch->cache_control));
	take_value(data, len, "Age", fetch->age, sizeof(fetch->age));
	take_value(data, len, "ETag", fetch->etag, sizeof(fetch->etag));
	take_value(data, len, "Retry-After", fetch->retry_after, sizeof(fetch->retry_after));
	return len;
}

/* -- results -- */

static const char *
words_for(const Fetch *fetch, CURLcode code)
{
	if (code == CURLE_OK)
		return NULL;
	if (fetch->door.refused)
		return "the address is not allowed";
	if (fetch->too_large || code == CURLE_FILESIZE_EXCEEDED)
		return "the answer is too large";
	return curl_easy_strerror(code);
}

static void
take_done(Fetcher *fetcher)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(fetcher->multi, &left)) != NULL)
	{
		Fetch	   *fetch = NULL;
		FetchAnswer answer = {.status = 0};

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &fetch);
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &answer.status);
		answer.error = words_for(fetch, message->data.result);
		answer.body = fetch->body != NULL ? fetch->body : "";
		answer.body_len = fetch->body_len;
		answer.cache_control = *fetch->cache_control != '\0' ? fetch->cache_control : NULL;
		answer.age = *fetch->age != '\0' ? fetch->age : NULL;
		answer.etag = *fetch->etag != '\0' ? fetch->etag : NULL;
		answer.retry_after_s = strtoll(fetch->retry_after, NULL, 10);
		/* Out of the multi handle first: the function may start the next fetch. */
		curl_multi_remove_handle(fetcher->multi, fetch->easy);
		fetch->answered(fetch->context, &answer);
		fetch_free(fetch);
	}
}

static void
act(Fetcher *fetcher, curl_socket_t fd, int events)
{
	int			running;

	curl_multi_socket_action(fetcher->multi, fd, events, &running);
	take_done(fetcher);
}

/* -- the loop -- */

/* What the loop gives back for a descriptor of libcurl's. */
typedef struct Watch
{
	Fetcher    *fetcher;
	curl_socket_t fd;
} Watch;

static void
socket_ready(void *context, uint32_t events)
{
	Watch	   *watch = context;
	int			what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		(events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	act(watch->fetcher, watch->fd, what);
}

static void
timer_due(void *context)
{
	act(context, CURL_SOCKET_TIMEOUT, 0);
}

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
	Fetcher    *fetcher = context;
	Watch	   *watch = socket_context;
	uint32_t	events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void) easy;
	if (what == CURL_POLL_REMOVE)
	{
		loop_forget(fetcher->loop, fd);
		curl_multi_assign(fetcher->multi, fd, NULL);
		free(watch);
		return 0;
	}
	if (watch == NULL)
	{
		watch = malloc(sizeof(*watch));
		if (watch == NULL)
			return -1;
		*watch = (Watch) {.fetcher = fetcher, .fd = fd};
		curl_multi_assign(fetcher->multi, fd, watch);
	}
	return loop_watch(fetcher->loop, fd, events, socket_ready, watch) ? 0 : -1;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *context)
{
	Fetcher    *fetcher = context;

	(void) multi;
	if (timeout_ms < 0)
		loop_timer_off(&fetcher->timer);
	else
		loop_timer_in(fetcher->loop, &fetcher->timer, timeout_ms);
	return 0;
}

bool
fetcher_init(Fetcher *fetcher)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	fetcher->multi = curl_multi_init();
	if (fetcher->multi == NULL)
		return false;
	loop_timer_init(fetcher->loop, &fetcher->timer, timer_due, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) CONNECTIONS_MAX);
	return true;
}

void
fetcher_close(Fetcher *fetcher)
{
	while (fetcher->running != NULL)
		fetch_free(fetcher->running);
	if (fetcher->multi != NULL)
		curl_multi_cleanup(fetcher->multi);
	fetcher->multi = NULL;
	loop_timer_off(&fetcher->timer);
	curl_global_cleanup();
}

static bool
set_headers(Fetch *fetch, const char *etag)
{
	char		line[FETCH_ETAG_MAX + 32];
	struct curl_slist *more;

	fetch->headers = curl_slist_append(NULL, "Accept: application/json, application/jwk-set+json");
	if (fetch->headers == NULL || *etag == '\0')
		return fetch->headers != NULL;
	snprintf(line, sizeof(line), "If-None-Match: %s", etag);
	more = curl_slist_append(fetch->headers, line);
	return more != NULL;
}

static bool
set_options(Fetch *fetch, const char *url)
{
	const Fetcher *fetcher = fetch->fetcher;
	CURL	   *easy = fetch->easy;
	bool		good = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, fetch->door.plain ? "http" : "https") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, address_open_socket) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &fetch->door) == CURLE_OK;

	if (*fetcher->ca_file != '\0')
		good = good && curl_easy_setopt(easy, CURLOPT_CAINFO, fetcher->ca_file) == CURLE_OK;
	/* libcurl's defaults, said aloud: certificate and name are checked, redirects are not followed. */
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long) DOCUMENT_MAX_BYTES);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) fetcher->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) (fetcher->timeout_ms / 2));
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "backoffice-oidc");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
	return good;
}

bool
fetch_start(Fetcher *fetcher, const char *url, const char *etag, FetchFunction answered, void *context)
{
	Fetch	   *fetch = calloc(1, sizeof(*fetch));

	if (fetch == NULL)
		return false;
	fetch->fetcher = fetcher;
	fetch->answered = answered;
	fetch->context = context;
	fetch->door = (AddressDoor) {.rules = fetcher->rules, .plain = strncasecmp(url, "http:", 5) == 0};
	fetch->easy = curl_easy_init();
	if (fetch->easy == NULL || !set_headers(fetch, etag) || !set_options(fetch, url) ||
		curl_multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
	{
		fetch_free(fetch);
		return false;
	}
	fetch->next = fetcher->running;
	fetcher->running = fetch;
	return true;
}
