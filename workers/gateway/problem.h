/*
 * Errors: RFC 9457 problem details, and what an SQLSTATE is in HTTP.
 */
#ifndef BACKOFFICE_PROBLEM_H
#define BACKOFFICE_PROBLEM_H

#include "gateway/arguments.h"
#include "gateway/request.h"

/* The status of an error: PTxyz and the table of PostgREST. authenticated: a token was accepted. */
extern int	problem_status(const char *sqlstate, const char *message, bool authenticated);

/* The symbolic code of an SQLSTATE whose error carries none of its own. */
extern const char *problem_code(const char *sqlstate);

/* DETAIL without the symbolic code in front. */
extern const char *problem_detail(const char *detail, const char *code);

/* Answers with a problem. code: symbolic; detail and hint may be NULL. */
extern void problem_reply(Request *request, int status, const char *code, const char *detail, const char *hint);
extern void problem_reply_arguments(Request *request, const Complaint *complaint);

/* The same with the database's DETAIL, as member "explanation". */
extern void problem_body(Request *request, int status, const char *code, const char *message, const char *detail, const char *hint);

/* The database's error, or the reason why there is no result. Frees the result. */
extern void problem_outcome(Request *request, CallOutcome outcome, PGresult *result);

/* The parts of an error result; texts are valid as long as the result. Used by /rpc as well. */
typedef struct ErrorParts
{
	const char *sqlstate;
	const char *message;
	const char *detail;			/* without the symbolic code in front; NULL: none */
	const char *hint;
	const char *code;			/* symbolic */
	int			status;
} ErrorParts;
extern void problem_parts(const PGresult *result, bool authenticated, ErrorParts *parts);

#endif
