/*
 * The route table: what HTTP offers, in one place. /openapi.json, the table in
 * docs/gateway.md, the SQL of the calls and the metrics come from it.
 */
#ifndef BACKOFFICE_ROUTES_H
#define BACKOFFICE_ROUTES_H

#include "gateway/request.h"

#define ROUTE_MAX_ARGUMENTS 12

typedef enum Source
{
	FROM_BODY,					/* a member of the JSON object */
	FROM_PATH,					/* {name} of the pattern */
	FROM_QUERY,
	FROM_FORM,					/* application/x-www-form-urlencoded */
	FROM_PEER					/* the client's address */
} Source;

typedef enum ArgumentType
{
	ARGUMENT_TEXT,
	ARGUMENT_UUID,
	ARGUMENT_INT,				/* bigint */
	ARGUMENT_INT4,				/* integer */
	ARGUMENT_BOOL,
	ARGUMENT_TIME,				/* timestamptz, RFC 3339 */
	ARGUMENT_TEXTS,				/* text[] */
	ARGUMENT_OBJECT,			/* a JSON object, jsonb */
	ARGUMENT_INET
} ArgumentType;

typedef struct Argument
{
	const char *name;			/* of the function's parameter, and in HTTP */
	Source		source;
	ArgumentType type;
	bool		required;
	const char *help;
} Argument;

typedef enum AuthClass
{
	AUTH_NONE,					/* a token, if there is one, is not looked at */
	AUTH_OPTIONAL,
	AUTH_TOKEN					/* 401 without one */
} AuthClass;

typedef enum RateClass
{
	RATE_NONE,					/* health: never limited */
	RATE_AUTH,
	RATE_READ,
	RATE_WRITE,
	RATE_RPC,
	RATE_STREAM,
	RATE_CLASSES
} RateClass;

struct Route
{
	Method		method;
	const char *pattern;		/* "/certificates/{id}/issue"; "/rpc/{function}" */
	const char *function;		/* of schema api; NULL: handler answers */
	Handler		handler;
	AuthClass	auth;
	RateClass	rate;
	bool		writes;			/* of a GET: it changes something after all */
	int			status;			/* of success; 204: no body */
	const char *tag;
	const char *summary;
	const char *answer;			/* JSON schema of the answer, or the name of a component: "#Certificate"; NULL: none */
	Argument	arguments[ROUTE_MAX_ARGUMENTS];	/* up to the first without name */
};

extern const Route routes[];
extern const int route_count;

typedef enum MatchResult
{
	MATCH_FOUND,
	MATCH_NO_PATH,
	MATCH_NO_METHOD				/* allowed: bits of the methods there are */
} MatchResult;

typedef struct Match
{
	const Route *route;
	struct
	{
		const char *text;		/* encoded, in the path */
		size_t		len;
	}			params[REQUEST_MAX_PARAMS];
	int			param_count;
	unsigned int allowed;
} Match;

/* Pure. HEAD finds the route of GET. */
extern MatchResult route_match(const char *path, Method method, Match *match);

/* The handler of every route with a function: converts the arguments, calls, answers. */
extern void route_call(Request *request);

#endif
