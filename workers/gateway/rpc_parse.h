/*
 * Small parsers, put together, that know what they expected where: PostgREST's error
 * texts come from a parser library with exactly these rules, and clients see them.
 *
 * A parser returns a reply: ok or not, and whether it consumed anything. One that
 * failed without consuming leaves the place as it was. An alternative is tried only
 * after a failure that consumed nothing; parse_try() makes a failure such a one.
 * Errors of the same place are added up, of different places the further one counts.
 * They are noted only if the text is read to tell: what is right is read once, quietly,
 * what is not a second time.
 */
#ifndef BACKOFFICE_RPC_PARSE_H
#define BACKOFFICE_RPC_PARSE_H

#include "gateway/rpc_text.h"

#define PARSE_MAX_NOTES 16
#define PARSE_MAX_DEPTH 24		/* of trees and nested selects */

typedef enum ParseNoteKind
{
	NOTE_FOUND,					/* what the parser saw */
	NOTE_UNEXPECTED,			/* what a parser called unexpected */
	NOTE_EXPECTED
} ParseNoteKind;

typedef struct ParseError
{
	size_t		at;
	int			count;
	struct
	{
		ParseNoteKind kind;
		const char *text;		/* NOTE_FOUND "": end of input */
	}			notes[PARSE_MAX_NOTES];
} ParseError;

typedef struct ParseReply
{
	bool		ok;
	bool		consumed;
	ParseError *error;			/* NULL: nothing was noted. One reply's own: it goes on to the one it is merged into */
} ParseReply;

typedef struct Parse
{
	RpcArena   *arena;
	const char *text;			/* UTF-8 */
	size_t		length;
	size_t		at;
	int			depth;
	bool		telling;
	const char *name;			/* of the text, in error messages */
} Parse;

extern ParseReply parse_nothing(const Parse *parse);	/* succeeds */
extern ParseReply parse_fail(const Parse *parse);	/* fails, saying nothing */

/* Adds what came next to what came so far. False: it failed, sofar is the whole's reply. */
extern bool parse_then(ParseReply *sofar, ParseReply next);

/* The reply when the first alternative failed without consuming, and this is the second's. */
extern ParseReply parse_or(const ParseReply *first, ParseReply second);
extern ParseReply parse_try(Parse *parse, size_t start, ParseReply reply);

/* What was expected here is called so, instead of what the parts say. */
extern ParseReply parse_called(const Parse *parse, ParseReply reply, const char *name);

extern ParseReply parse_char(Parse *parse, char c);
extern ParseReply parse_string(Parse *parse, const char *string);
extern ParseReply parse_end(Parse *parse);

/* Succeeds, without consuming, where the string follows. */
extern ParseReply parse_ahead(Parse *parse, const char *string);

/* Fails, without consuming, where one of (all but) these follows. */
extern ParseReply parse_not_ahead(Parse *parse, const char *set, bool all_but, const char *expected);

/* One character, or as many as there are, out of (not out of) the set. */
extern ParseReply parse_one_of(Parse *parse, const char *set, bool all_but);
extern ParseReply parse_many_of(Parse *parse, const char *set, bool all_but);
extern ParseReply parse_many_identifier(Parse *parse);	/* letters, digits, _ $ and blanks; at least one */
extern ParseReply parse_digits(Parse *parse);	/* at least one */

extern char *parse_text(const Parse *parse, size_t from);	/* from there to here */
extern char *parse_stripped(const Parse *parse, size_t from);	/* the same without blanks around */

/* "name" (line 1, column 5), and: unexpected "x" expecting "a" or "b". */
extern const char *parse_where(const Parse *parse, const ParseError *error);
extern const char *parse_what(RpcArena *arena, const ParseError *error);

#endif
