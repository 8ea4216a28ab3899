#include "gateway/rpc_headers.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_MEDIA_PARAMS 8

static const struct
{
	const char *name;
	RpcMediaKind kind;
}			media_names[] = {
	{"application/json", MEDIA_JSON}, {"application/geo+json", MEDIA_GEOJSON}, {"text/csv", MEDIA_CSV},
	{"text/plain", MEDIA_TEXT}, {"text/xml", MEDIA_XML}, {"application/openapi+json", MEDIA_OPENAPI},
	{"application/x-www-form-urlencoded", MEDIA_FORM}, {"application/octet-stream", MEDIA_BYTES}, {"*/*", MEDIA_ANY},
	{"application/vnd.pgrst.array+json", MEDIA_ARRAY_STRIPPED}, {"application/vnd.pgrst.array", MEDIA_ARRAY_STRIPPED},
	{"application/vnd.pgrst.object+json", MEDIA_OBJECT}, {"application/vnd.pgrst.object", MEDIA_OBJECT},
	{"application/vnd.pgrst.plan", MEDIA_PLAN}, {"application/vnd.pgrst.plan+text", MEDIA_PLAN},
	{"application/vnd.pgrst.plan+json", MEDIA_PLAN}
};

typedef struct MediaParam
{
	const char *name;			/* in lower case */
	const char *value;
} MediaParam;

const char *
rpc_header(const RpcRequest *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (strcmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

/* ---- media types ---- */

static const char *
skip(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

static char *
lower(RpcArena *arena, const char *text, size_t length)
{
	char	   *copy = arena_copy(arena, text, length);

	for (char *c = copy; *c != '\0'; c++)
		*c = (char) tolower((unsigned char) *c);
	return copy;
}

static size_t
span(const char *text, const char *more)
{
	size_t		n = 0;

	while (text[n] != '\0' && (isalnum((unsigned char) text[n]) || strchr(more, text[n]) != NULL))
		n++;
	return n;
}

/* ; name=value or ; name="value"; what is written otherwise ends them. */
static int
media_params(RpcArena *arena, const char *at, MediaParam *params)
{
	int			count = 0;

	while (count < MAX_MEDIA_PARAMS)
	{
		const char *name = skip(at);
		size_t		name_length;
		size_t		length;
		const char *value;

		if (*name != ';')
			break;
		name = skip(name + 1);
		name_length = span(name, "-");
		value = skip(name + name_length);
		if (name_length == 0 || *value != '=')
			break;
		value = skip(value + 1);
		if (*value == '"' && strchr(value + 1, '"') != NULL)
		{
			length = strcspn(++value, "\"");
			at = value + length + 1;
		}
		else
		{
			length = span(value, "|-");
			at = value + length;
			if (length == 0)
				break;
		}
		params[count].name = lower(arena, name, name_length);
		params[count++].value = arena_copy(arena, value, length);
	}
	return count;
}

/* Of two with the same name the last. */
static const char *
media_param(const MediaParam *params, int count, const char *name)
{
	for (int i = count; i > 0; i--)
		if (strcmp(params[i - 1].name, name) == 0)
			return params[i - 1].value;
	return NULL;
}

static bool
has_option(const char *options, const char *option)
{
	size_t		length = strlen(option);

	for (const char *at = options; at != NULL; at = strchr(at, '|') != NULL ? strchr(at, '|') + 1 : NULL)
		if (strncmp(at, option, length) == 0 && (at[length] == '|' || at[length] == '\0'))
			return true;
	return false;
}

static const char *
plan_mime(RpcArena *arena, bool json, const MediaParam *params, int count)
{
	static const char *const known[] = {"analyze", "verbose", "settings", "buffers", "wal"};
	const char *inner = media_param(params, count, "for");
	const char *options = media_param(params, count, "options");
	RpcText		text = text_new(arena);
	bool		first = true;

	text_print(&text, "application/vnd.pgrst.plan+%s; for=\"%s\"", json ? "json" : "text",
			   inner == NULL ? "application/json" : strncasecmp(inner, "application/vnd.pgrst.plan", 26) == 0 ? inner : rpc_media_read(arena, inner).mime);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (has_option(options, known[i]))
		{
			text_print(&text, "%s%s", first ? "; options=" : "|", known[i]);
			first = false;
		}
	return text.at;
}

RpcMedia
rpc_media_read(RpcArena *arena, const char *text)
{
	RpcMedia	media = {MEDIA_OTHER, text};
	size_t		type = span(text, ".*");
	size_t		subtype = text[type] == '/' ? span(text + type + 1, ".*+-") : 0;
	MediaParam	params[MAX_MEDIA_PARAMS];
	const char *name;
	const char *nulls;
	int			count;

	if (type == 0 || subtype == 0)
		return media;
	name = lower(arena, text, type + 1 + subtype);
	for (size_t i = 0; i < sizeof(media_names) / sizeof(media_names[0]); i++)
		if (strcmp(media_names[i].name, name) == 0)
		{
			media.kind = media_names[i].kind;
			media.mime = media_names[i].name;
		}
	if (media.kind == MEDIA_OTHER)
		return media;
	count = media_params(arena, text + type + 1 + subtype, params);
	nulls = media_param(params, count, "nulls");
	nulls = nulls == NULL ? "" : nulls;
	if (media.kind == MEDIA_ARRAY_STRIPPED)
		return strcmp(nulls, "stripped") == 0 ? (RpcMedia) {MEDIA_ARRAY_STRIPPED, "application/vnd.pgrst.array+json;nulls=stripped"} :
			(RpcMedia) {MEDIA_JSON, "application/json"};
	if (media.kind == MEDIA_OBJECT)
		return strcmp(nulls, "stripped") == 0 ? (RpcMedia) {MEDIA_OBJECT_STRIPPED, "application/vnd.pgrst.object+json;nulls=stripped"} :
			(RpcMedia) {MEDIA_OBJECT, "application/vnd.pgrst.object+json"};
	if (media.kind == MEDIA_PLAN)
		media.mime = plan_mime(arena, strchr(name, '+') != NULL && strcmp(strchr(name, '+'), "+json") == 0, params, count);
	return media;
}

bool
rpc_media_same(RpcMedia one, RpcMedia other)
{
	return one.kind == other.kind && (one.kind != MEDIA_OTHER || strcmp(one.mime, other.mime) == 0);
}

const char *
rpc_media_content_type(RpcArena *arena, RpcMedia media)
{
	if (media.kind == MEDIA_BYTES || media.kind == MEDIA_OTHER)
		return media.mime;
	return arena_print(arena, "%s; charset=utf-8", media.mime);
}

typedef struct Wanted
{
	RpcMedia	media;
	double		quality;
	int			specific;		/* parameters less stars */
	size_t		place;
} Wanted;

static int
compare_wanted(const void *a, const void *b)
{
	const Wanted *one = a;
	const Wanted *other = b;

	if (one->quality != other->quality)
		return one->quality > other->quality ? -1 : 1;
	if (one->specific != other->specific)
		return one->specific > other->specific ? -1 : 1;
	return one->place < other->place ? -1 : 1;
}

/* One item of Accept. */
static Wanted
read_wanted(RpcArena *arena, const char *item, size_t length, size_t place)
{
	Wanted		wanted = {.quality = 1, .place = place};
	char	   *text = arena_copy(arena, item, length);
	char	   *to = text;
	char	   *q;

	for (const char *c = text; *c != '\0'; c++)
		if (*c != ' ')
			*to++ = *c;
	*to = '\0';
	q = strstr(text, ";q=");
	if (q != NULL)
	{
		char	   *end;

		wanted.quality = strtod(q + 3, &end);
		if (end == q + 3)
			wanted.quality = 1;
		*q = '\0';
	}
	for (const char *c = text; *c != '\0'; c++)
		wanted.specific += (*c == ';') - (*c == '*');
	wanted.media = rpc_media_read(arena, text);
	return wanted;
}

RpcMedia *
rpc_media_accepted(RpcArena *arena, const RpcRequest *request, size_t *count)
{
	const char *at = rpc_header(request, "accept");
	Wanted	   *wanted = NULL;
	RpcMedia   *list;

	*count = 0;
	while (at != NULL)
	{
		size_t		length = strcspn(at, ",");

		wanted = arena_grow(arena, wanted, *count, sizeof(Wanted));
		wanted[*count] = read_wanted(arena, at, length, *count);
		(*count)++;
		at = at[length] == ',' ? at + length + 1 : NULL;
	}
	list = arena_take(arena, (*count + 1) * sizeof(RpcMedia));
	if (*count > 0)
		qsort(wanted, *count, sizeof(Wanted), compare_wanted);
	for (size_t i = 0; i < *count; i++)
		list[i] = wanted[i].media;
	if (*count == 0)
		list[(*count)++] = (RpcMedia) {MEDIA_ANY, "*/*"};
	return list;
}

/* ---- preferences ---- */

static const char *const known_preferences[] = {
	"resolution=merge-duplicates", "resolution=ignore-duplicates", "return=representation", "return=minimal",
	"return=headers-only", "count=exact", "count=planned", "count=estimated", "tx=commit", "tx=rollback",
	"missing=default", "missing=null", "handling=strict", "handling=lenient"
};

static void
read_preference(RpcArena *arena, const RpcConfig *config, const char *text, RpcText *invalid, RpcPrefer *out)
{
	bool		known = false;
	const char *value = strchr(text, '=');
	char	   *end;

	if (strncmp(text, "timezone=", 9) == 0)
	{
		out->timezone = out->timezone == NULL ? text + 9 : out->timezone;
		return;
	}
	if (strncmp(text, "max-affected=", 13) == 0)
	{
		int64_t		number = strtoimax(text + 13, &end, 10);

		if (!out->has_max_affected && end > text + 13 && *end == '\0' && !isspace((unsigned char) text[13]))
		{
			out->has_max_affected = true;
			out->max_affected = number;
		}
		return;
	}
	for (size_t i = 0; i < sizeof(known_preferences) / sizeof(known_preferences[0]); i++)
		known = known || strcmp(text, known_preferences[i]) == 0;
	if (!known)
	{
		if (invalid->arena == NULL)
			*invalid = text_new(arena);
		text_add(invalid, invalid->length > 0 ? ", " : "");
		text_add(invalid, text);
		out->invalid = invalid->at;
	}
	else if (strncmp(text, "count=", 6) == 0 && out->count == NULL)
		out->count = arena_print(arena, "%s", value + 1);
	else if (strncmp(text, "tx=", 3) == 0 && out->tx == NULL && config->tx_override)
		out->tx = value + 1;
	else if (strncmp(text, "handling=", 9) == 0 && out->handling == NULL)
		out->handling = value + 1;
}

void
rpc_prefer_read(RpcArena *arena, const RpcConfig *config, const RpcRequest *request, RpcPrefer *out)
{
	RpcText		invalid = {.arena = NULL};

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < request->header_count; i++)
	{
		const char *at = request->headers[i].value;

		if (strcmp(request->headers[i].name, "prefer") != 0)
			continue;
		while (at != NULL)
		{
			size_t		length = strcspn(at, ",");
			const char *from = at;
			const char *to = at + length;

			while (from < to && isspace((unsigned char) *from))
				from++;
			while (to > from && isspace((unsigned char) to[-1]))
				to--;
			read_preference(arena, config, arena_copy(arena, from, (size_t) (to - from)), &invalid, out);
			at = at[length] == ',' ? at + length + 1 : NULL;
		}
	}
}

static void
add_applied(RpcText *text, const char *name, const char *value)
{
	if (value != NULL)
		text_print(text, "%s%s=%s", text->length > 0 ? ", " : "", name, value);
}

const char *
rpc_prefer_applied(RpcArena *arena, const RpcPrefer *prefer)
{
	RpcText		text;

	if (prefer->count == NULL && prefer->tx == NULL && prefer->handling == NULL && prefer->timezone == NULL)
		return NULL;
	text = text_new(arena);
	add_applied(&text, "count", prefer->count);
	add_applied(&text, "tx", prefer->tx);
	add_applied(&text, "handling", prefer->handling);
	add_applied(&text, "timezone", prefer->timezone);
	if (prefer->has_max_affected && prefer->handling != NULL && strcmp(prefer->handling, "strict") == 0)
		add_applied(&text, "max-affected", arena_print(arena, "%" PRId64, prefer->max_affected));
	return text.length > 0 ? text.at : NULL;
}
