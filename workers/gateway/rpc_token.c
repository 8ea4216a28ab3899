/* Refused tokens: from the extension's codes to PostgREST's. Nothing is verified here. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "gateway/rpc_internal.h"

static const struct
{
	const char *symbol;
	const char *code;
	const char *message;
	const char *details;
}			refusals[] = {
	{"token_expired", "PGRST303", "JWT expired", NULL},
	{"token_not_yet_valid", "PGRST303", "JWT not yet valid", NULL},
	{"token_wrong_audience", "PGRST303", "JWT not in audience", NULL},
	{"token_unknown_key", "PGRST301", "No suitable key or wrong key type", "No suitable key was found to decode the JWT"},
	{"token_bad_signature", "PGRST301", "No suitable key or wrong key type", "None of the keys was able to decode the JWT"},
	{"token_malformed", "PGRST301", "JWT cryptographic operation failed", NULL}
};

/* The header's alg, or NULL: for the message only. */
static const char *
algorithm_of(RpcArena *arena, const char *token)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t		length = strcspn(token, ".");
	char	   *text = arena_take(arena, length + 1);
	size_t		n = 0;
	unsigned	bits = 0;
	int			have = 0;
	json_t	   *json;
	const char *algorithm;

	for (size_t i = 0; i < length; i++)
	{
		const char *digit = strchr(digits, token[i]);

		if (digit == NULL)
			return NULL;
		bits = bits << 6 | (unsigned) (digit - digits);
		have += 6;
		if (have >= 8)
		{
			have -= 8;
			text[n++] = (char) (bits >> have & 0xff);
		}
	}
	json = json_loadb(text, n, 0, NULL);
	algorithm = json_string_value(json_object_get(json, "alg"));
	algorithm = algorithm == NULL ? NULL : arena_copy(arena, algorithm, strlen(algorithm));
	json_decref(json);
	return algorithm;
}

static bool
tells(const char *detail, const char *what)
{
	return detail != NULL && strstr(detail, what) != NULL;
}

/* A malformed token: what of it. */
static void
describe(RpcArena *arena, const char *token, const char *detail, RpcProblem *problem)
{
	static const char *const times[] = {"exp", "nbf", "iat"};
	const char *algorithm;
	int			parts = 1;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (tells(detail, arena_print(arena, "claim %s is not a number", times[i])))
		{
			problem->code = "PGRST303";
			problem->message = arena_print(arena, "The JWT '%s' claim must be a number", times[i]);
			return;
		}
	if (tells(detail, "claim aud is neither"))
	{
		problem->code = "PGRST303";
		problem->message = "The JWT 'aud' claim must be a string or an array of strings";
		return;
	}
	for (const char *c = token == NULL ? "" : token; *c != '\0'; c++)
		parts += *c == '.';
	if (token != NULL && *token == '\0')
		problem->message = "Empty JWT is sent in Authorization header";
	else if (token != NULL && parts != 3)
		problem->message = arena_print(arena, "Expected 3 parts in JWT; got %d", parts);
	else if (tells(detail, "algorithm") && token != NULL && (algorithm = algorithm_of(arena, token)) != NULL)
	{
		problem->message = "Wrong or unsupported encoding algorithm";
		problem->details = strcmp(algorithm, "none") == 0 ? "JWT is unsecured but expected 'alg' was not 'none'" : NULL;
	}
}

bool
rpc_token_problem(RpcArena *arena, const char *symbol, const char *token, const char *detail, RpcProblem *problem)
{
	RpcText		text = text_new(arena);
	RpcHeader  *header = arena_take(arena, sizeof(RpcHeader));
	size_t		i = 0;

	while (i < sizeof(refusals) / sizeof(refusals[0]) && (symbol == NULL || strcmp(refusals[i].symbol, symbol) != 0))
		i++;
	if (i == sizeof(refusals) / sizeof(refusals[0]))
		return false;
	*problem = (RpcProblem) {.status = 401, .code = refusals[i].code, .message = refusals[i].message, .details = refusals[i].details};
	if (strcmp(symbol, "token_malformed") == 0)
		describe(arena, token, detail, problem);
	else if (strcmp(symbol, "token_not_yet_valid") == 0 && tells(detail, "issued in the future"))
		problem->message = "JWT issued at future";
	text_add(&text, "Bearer error=\"invalid_token\", error_description=");
	text_add_json(&text, problem->message);
	*header = (RpcHeader) {"WWW-Authenticate", text.at};
	problem->headers = header;
	problem->header_count = 1;
	return true;
}
