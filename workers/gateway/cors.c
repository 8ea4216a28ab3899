#include "gateway/cors.h"

#include <string.h>

#include "gateway/methods.h"
#include "gateway/reply.h"

#define EXPOSED "Location, ETag, Content-Range, Content-Profile, Preference-Applied, Proxy-Status, Retry-After, " \
	"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id, traceparent, Idempotency-Replayed"
#define HEADERS "authorization, content-type, accept, prefer, range, range-unit, if-none-match, accept-profile, content-profile, " \
	"idempotency-key, x-organization-id, x-request-id, traceparent, last-event-id, x-client-info, apikey"

bool
cors_allows(const char *origins, const char *origin)
{
	size_t		origin_len = strlen(origin);

	if (strcmp(origins, "*") == 0)
		return true;
	while (*origins != '\0')
	{
		size_t		len = strcspn(origins, ",");

		if (len == origin_len && strncmp(origins, origin, len) == 0)
			return true;
		origins += len;
		origins += strspn(origins, ", ");
	}
	return false;
}

bool
cors_check(const char *origins, FILE *err)
{
	const char *at = origins;

	if (*origins == '\0' || strcmp(origins, "*") == 0)
		return true;
	while (*at != '\0')
	{
		size_t		len = strcspn(at, ",");
		size_t		scheme = strncmp(at, "https://", 8) == 0 ? 8 : strncmp(at, "http://", 7) == 0 ? 7 : 0;

		if (scheme == 0 || len <= scheme || memchr(at + scheme, '/', len - scheme) != NULL || memchr(at, ' ', len) != NULL)
		{
			fprintf(err, "allow-origins: \"%.*s\" is not scheme://host[:port]\n", (int) len, at);
			return false;
		}
		at += len;
		at += strspn(at, ", ");
	}
	return true;
}

const char *
cors_allowed_origin(const Request *request)
{
	const char *origin = request_header(request, "origin");
	const char *origins = request->gateway->settings.allow_origins;

	if (origin == NULL || *origins == '\0' || !cors_allows(origins, origin))
		return NULL;
	return strcmp(origins, "*") == 0 ? "*" : origin;
}

bool
cors_preflight(Request *request, unsigned int allowed_methods)
{
	char		methods[96];

	if (request->method != METHOD_OPTIONS || request_header(request, "origin") == NULL ||
		request_header(request, "access-control-request-method") == NULL)
		return false;
	if (cors_allowed_origin(request) != NULL)
	{
		method_list(allowed_methods | 1u << METHOD_OPTIONS, methods, sizeof(methods));
		reply_header(request, "Access-Control-Allow-Methods", methods);
		reply_header(request, "Access-Control-Allow-Headers", HEADERS);
		reply_header(request, "Access-Control-Max-Age", "86400");
	}
	reply_text(request, 204, NULL, NULL, 0);
	return true;
}

void
cors_answer(const Request *request, struct MHD_Response *response)
{
	const char *origin = cors_allowed_origin(request);

	if (*request->gateway->settings.allow_origins == '\0')
		return;
	if (strcmp(request->gateway->settings.allow_origins, "*") != 0)
		MHD_add_response_header(response, "Vary", "Origin");
	if (origin == NULL)
		return;
	MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
	MHD_add_response_header(response, "Access-Control-Expose-Headers", EXPOSED);
}
