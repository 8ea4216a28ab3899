#include "gateway/reply.h"

#include <microhttpd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/cors.h"
#include "gateway/reason.h"
#include "gateway/respond.h"

bool
reply_header(Request *request, const char *name, const char *value)
{
	Reply	   *reply = &request->reply;
	Header	   *header = &reply->headers[reply->header_count];

	if (reply->header_count == REQUEST_MAX_REPLY_HEADERS || *name == '\0')
		return false;
	for (const char *at = name; *at != '\0'; at++)
		if (*at <= ' ' || *at >= 0x7f || strchr(":()<>@,;\\\"/[]?={}", *at) != NULL)
			return false;
	for (const char *at = value; *at != '\0'; at++)
		if ((unsigned char) *at < ' ' && *at != '\t')
			return false;
	header->name = request_copy(request, name, strlen(name));
	header->value = request_copy(request, value, strlen(value));
	if (header->name == NULL || header->value == NULL)
		return false;
	reply->header_count++;
	return true;
}

bool
reply_has_header(const Request *request, const char *name)
{
	for (int i = 0; i < request->reply.header_count; i++)
		if (strcasecmp(request->reply.headers[i].name, name) == 0)
			return true;
	return false;
}

static void
set(Request *request, int status, const char *type, const char *body, size_t len, void (*free_body) (void *), void *context)
{
	Reply	   *reply = &request->reply;

	reply->status = status;
	reply->body = (char *) (uintptr_t) body;
	reply->body_len = len;
	reply->free_body = free_body;
	reply->free_context = context;
	if (free_body != NULL)
	{
		reply->counted = len;
		reply->since_us = gateway_monotonic_us();
		request->gateway->answer_bytes += (int64_t) len;
	}
	if (type != NULL)
		reply_header(request, "Content-Type", type);
	request_wake(request);
}

void
reply_text(Request *request, int status, const char *type, const char *body, size_t len)
{
	char	   *copy = type != NULL ? malloc(len + 1) : NULL;

	if (copy != NULL)
	{
		memcpy(copy, body, len);
		copy[len] = '\0';
	}
	set(request, status, type, copy, copy != NULL ? len : 0, copy != NULL ? free : NULL, copy);
}

void
reply_static(Request *request, int status, const char *type, const char *body, size_t len)
{
	set(request, status, type, body, len, NULL, NULL);
}

static void
free_result(void *result)
{
	PQclear(result);
}

void
reply_result(Request *request, int status, const char *type, PGresult *result, const char *body, size_t len)
{
	set(request, status, type, body, len, free_result, result);
}

/* ---- sending ---- */

static ssize_t
no_bytes(void *context, uint64_t at, char *bytes, size_t max)
{
	(void) context, (void) at, (void) bytes, (void) max;
	return MHD_CONTENT_READER_END_OF_STREAM;
}

static struct MHD_Response *
make_response(Reply *reply)
{
	struct MHD_Response *response;

	if (reply->no_length)
	{
		/* Not in chunks: of those libmicrohttpd 0.9.75 sends the last one, to HEAD too. So the connection ends with it. */
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, no_bytes, NULL, NULL);
		if (response != NULL)
			MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
	}
	else if (reply->free_body != NULL)
		response = MHD_create_response_from_buffer_with_free_callback_cls(reply->body_len, reply->body, reply->free_body,
																		  reply->free_context);
	else
		response = MHD_create_response_from_buffer(reply->body_len, reply->body != NULL ? reply->body : (char *) (uintptr_t) "",
												   MHD_RESPMEM_PERSISTENT);
	return response;
}

bool
respond(Request *request, bool draining)
{
	Reply	   *reply = &request->reply;
	struct MHD_Response *response = make_response(reply);
	bool		good;

	if (response == NULL)
		return false;
	/* From here on the body is libmicrohttpd's; one that is not sent is freed with the request. */
	if (!reply->no_length)
		reply->free_body = NULL;
	for (int i = 0; i < reply->header_count; i++)
		MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
	if (request->id[0] != '\0')
		MHD_add_response_header(response, "X-Request-Id", request->id);
	if (request->traceparent[0] != '\0')
		MHD_add_response_header(response, "traceparent", request->traceparent);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	cors_answer(request, response);
	if (reply->close || draining)
		MHD_add_response_header(response, "Connection", "close");
	reason_set((unsigned int) reply->status, reply->reason);
	good = MHD_queue_response(request->connection, (unsigned int) reply->status, response) == MHD_YES;
	MHD_destroy_response(response);
	return good;
}

void
respond_discard(Request *request)
{
	Reply	   *reply = &request->reply;

	if (reply->free_body != NULL)
		reply->free_body(reply->free_context);
	reply->free_body = NULL;
}
