#include "gateway/fetch.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/address.h"
#include "lib/log.h"

#define MAX_ANSWER 262144
#define TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000

struct Fetcher
{
	Gateway    *gateway;
	CURLM	   *multi;
	LoopTimer	timer;
	Fetch	   *fetches;
};

/* One socket of curl's, for the loop's callback. */
typedef struct Watched
{
	Fetcher    *fetcher;
	curl_socket_t fd;
} Watched;

struct Fetch
{
	Fetcher    *fetcher;
	Fetch	   *next;
	CURL	   *easy;
	AddressDoor door;
	struct curl_slist *headers;
	char	   *form;
	char	   *body;
	size_t		len;
	FetchDone	done;
	void	   *context;
	char		error[CURL_ERROR_SIZE];
};

/* ---- ends ---- */

static void
fetch_free(Fetch *fetch)
{
	Fetch	  **link = &fetch->fetcher->fetches;

	while (*link != fetch)
		link = &(*link)->next;
	*link = fetch->next;
	curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
	curl_easy_cleanup(fetch->easy);
	curl_slist_free_all(fetch->headers);
	/* A form holds a code and a verifier, an answer tokens. */
	explicit_bzero(fetch->form, strlen(fetch->form));
	free(fetch->form);
	if (fetch->body != NULL)
		explicit_bzero(fetch->body, fetch->len);
	free(fetch->body);
	free(fetch);
}

static const char *
words_for(const Fetch *fetch, CURLcode code)
{
	if (code != CURLE_OK && fetch->door.refused)
		return "the address is not allowed";
	return fetch->error[0] != '\0' ? fetch->error : curl_easy_strerror(code);
}

static void
take_finished(Fetcher *fetcher)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(fetcher->multi, &left)) != NULL)
	{
		Fetch	   *fetch;
		long		status = 0;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &fetch);
		if (message->data.result == CURLE_OK)
			curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
		if (fetch->done != NULL)
			fetch->done(fetch->context, (int) status, fetch->body != NULL ? fetch->body : "", fetch->len,
						words_for(fetch, message->data.result));
		fetch_free(fetch);
	}
}

/* ---- the loop ---- */

static void
act(Fetcher *fetcher, curl_socket_t fd, int what)
{
	int			running;

	curl_multi_socket_action(fetcher->multi, fd, what, &running);
	take_finished(fetcher);
}

static void
socket_ready(void *context, uint32_t events)
{
	Watched    *watched = context;

	act(watched->fetcher, watched->fd, (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		(events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
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
	Watched    *watched = socket_context;

	(void) easy;
	if (what == CURL_POLL_REMOVE)
	{
		loop_forget(&fetcher->gateway->loop, fd);
		free(watched);
		return 0;
	}
	if (watched == NULL)
	{
		watched = malloc(sizeof(*watched));
		if (watched == NULL)
			return -1;
		*watched = (Watched) {.fetcher = fetcher, .fd = fd};
		curl_multi_assign(fetcher->multi, fd, watched);
	}
	loop_watch(&fetcher->gateway->loop, fd, (what != CURL_POLL_OUT ? EPOLLIN : 0) | (what != CURL_POLL_IN ? EPOLLOUT : 0),
			   socket_ready, watched);
	return 0;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *context)
{
	Fetcher    *fetcher = context;

	(void) multi;
	if (timeout_ms < 0)
		loop_timer_off(&fetcher->timer);
	else
		loop_timer_in(&fetcher->gateway->loop, &fetcher->timer, timeout_ms);
	return 0;
}

/* ---- beginnings ---- */

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *context)
{
	Fetch	   *fetch = context;
	char	   *grown;

	size *= count;
	if (fetch->len + size > MAX_ANSWER)
		return 0;
	grown = realloc(fetch->body, fetch->len + size + 1);
	if (grown == NULL)
		return 0;
	fetch->body = grown;
	memcpy(grown + fetch->len, bytes, size);
	fetch->len += size;
	grown[fetch->len] = '\0';
	return size;
}

static bool
configure(Fetch *fetch, const char *url, const char *user, const char *password)
{
	CURL	   *easy = fetch->easy;
	const char *ca_file = fetch->fetcher->gateway->settings.oidc_ca_file;

	return curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, fetch->door.plain ? "http" : "https") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, address_open_socket) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &fetch->door) == CURLE_OK &&
		(*ca_file == '\0' || curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK) &&
		curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) TIMEOUT_MS) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_TIMEOUT_MS) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, fetch->form) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers) == CURLE_OK &&
		(user == NULL || (curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC) == CURLE_OK &&
						  curl_easy_setopt(easy, CURLOPT_USERNAME, user) == CURLE_OK &&
						  curl_easy_setopt(easy, CURLOPT_PASSWORD, password) == CURLE_OK)) &&
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->error) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch) == CURLE_OK;
}

Fetch *
fetch_post(Fetcher *fetcher, const char *url, const char *form, const char *user, const char *password, FetchDone done, void *context,
		   const char **error)
{
	Fetch	   *fetch;

	if (!address_url_good(&fetcher->gateway->oidc_rules, url, error))
		return NULL;
	*error = "out of memory";
	fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return NULL;
	fetch->fetcher = fetcher;
	fetch->door = (AddressDoor) {.rules = &fetcher->gateway->oidc_rules, .plain = strncmp(url, "http:", 5) == 0};
	fetch->done = done;
	fetch->context = context;
	fetch->form = strdup(form);
	fetch->headers = curl_slist_append(NULL, "Accept: application/json");
	fetch->easy = curl_easy_init();
	if (fetch->form == NULL || fetch->headers == NULL || fetch->easy == NULL || !configure(fetch, url, user, password) ||
		curl_multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
	{
		curl_easy_cleanup(fetch->easy);
		curl_slist_free_all(fetch->headers);
		free(fetch->form);
		free(fetch);
		return NULL;
	}
	fetch->next = fetcher->fetches;
	fetcher->fetches = fetch;
	return fetch;
}

void
fetch_abandon(Fetch *fetch)
{
	fetch_free(fetch);
}

Fetcher *
fetcher_open(Gateway *gateway)
{
	Fetcher    *fetcher = calloc(1, sizeof(*fetcher));

	if (fetcher == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (fetcher->multi = curl_multi_init()) == NULL)
	{
		free(fetcher);
		return NULL;
	}
	fetcher->gateway = gateway;
	loop_timer_init(&gateway->loop, &fetcher->timer, timer_due, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
	return fetcher;
}

void
fetcher_close(Fetcher *fetcher)
{
	loop_timer_off(&fetcher->timer);
	while (fetcher->fetches != NULL)
		fetch_free(fetcher->fetches);
	curl_multi_cleanup(fetcher->multi);
	curl_global_cleanup();
	free(fetcher);
}
