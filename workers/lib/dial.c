#include "lib/dial.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"

#define MAX_PLACES 64

typedef enum Part
{
	HOST,
	ADDRESS,
	PORT,
	PARTS
} Part;

static const char *const part_names[PARTS] = {"host", "hostaddr", "port"};

/* One host of the list, or one address of it; texts are owned. */
typedef struct Place
{
	char	   *parts[PARTS];
} Place;

typedef struct Places
{
	Place		all[MAX_PLACES];
	int			count;
	bool		listed[PARTS];	/* the connection was given a list of these */
	bool		failed;			/* out of memory, or too many */
} Places;

static void
add_place(Places *places, const char *host, const char *address, const char *port)
{
	const char *parts[PARTS] = {host, address, port};
	Place	   *place = &places->all[places->count];

	if (places->count == MAX_PLACES)
	{
		places->failed = true;
		return;
	}
	places->count++;
	for (int part = 0; part < PARTS; part++)
	{
		place->parts[part] = strdup(parts[part]);
		places->failed = places->failed || place->parts[part] == NULL;
	}
}

static void
free_places(Places *places)
{
	for (int i = 0; i < places->count; i++)
		for (int part = 0; part < PARTS; part++)
			free(places->all[i].parts[part]);
	places->count = 0;
}

/* The item of that number of a list with commas; a list of one stands for all. NULL: there is none. */
static char *
item_of(const char *list, int number)
{
	if (strchr(list, ',') == NULL)
		return strdup(list);
	for (; number > 0; number--)
	{
		list = strchr(list, ',');
		if (list == NULL)
			return NULL;
		list++;
	}
	return strndup(list, strcspn(list, ","));
}

static int
items_of(const char *list)
{
	int			count = 1;

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

/* What the connection was told to try, from wherever: the string, a service file, the environment. */
static void
read_places(PGconn *conn, Places *places)
{
	PQconninfoOption *options = PQconninfo(conn);
	const char *lists[PARTS] = {"", "", ""};
	int			count;

	places->failed = options == NULL;
	for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
		for (int part = 0; part < PARTS; part++)
			if (option->val != NULL && strcmp(option->keyword, part_names[part]) == 0)
				lists[part] = option->val;
	for (int part = 0; part < PARTS; part++)
		places->listed[part] = *lists[part] != '\0';
	count = items_of(*lists[ADDRESS] != '\0' ? lists[ADDRESS] : lists[HOST]);
	for (int i = 0; i < count && !places->failed; i++)
	{
		char	   *host = item_of(lists[HOST], i);
		char	   *address = item_of(lists[ADDRESS], i);
		char	   *port = item_of(lists[PORT], i);

		if (host != NULL && address != NULL && port != NULL)
			add_place(places, host, address, port);
		else
			places->failed = true;
		free(host);
		free(address);
		free(port);
	}
	PQconninfoFree(options);
}

static bool
is_current(const Place *place, const PGconn *conn)
{
	const char *host = *place->parts[HOST] != '\0' ? place->parts[HOST] : place->parts[ADDRESS];
	const char *port = *place->parts[PORT] != '\0' ? place->parts[PORT] : PQport(conn);

	return PQhost(conn) != NULL && (*host == '\0' || strcmp(host, PQhost(conn)) == 0) && strcmp(port, PQport(conn)) == 0 &&
		(*place->parts[ADDRESS] == '\0' || strcmp(place->parts[ADDRESS], PQhostaddr(conn)) == 0);
}

/* A name may stand for several addresses: all but the one that was tried. */
static void
add_other_addresses(Places *places, const Place *place, const char *tried)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char		address[NI_MAXHOST];

	if (*place->parts[ADDRESS] != '\0' || *place->parts[HOST] == '/' || *place->parts[HOST] == '@' || *place->parts[HOST] == '\0' ||
		getaddrinfo(place->parts[HOST], NULL, &hints, &found) != 0)
		return;
	for (struct addrinfo *at = found; at != NULL; at = at->ai_next)
		if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0 &&
			strcmp(address, tried) != 0)
			add_place(places, place->parts[HOST], address, place->parts[PORT]);
	freeaddrinfo(found);
}

/* One part of all of them as a list. NULL: out of memory. */
static char *
join(const Places *places, Part part)
{
	char	   *list = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&list, &size);

	if (out == NULL)
		return NULL;
	for (int i = 0; i < places->count; i++)
		fprintf(out, "%s%s", i > 0 ? "," : "", places->all[i].parts[part]);
	if (fclose(out) == 0)
		return list;
	free(list);
	return NULL;
}

static PGconn *
start(Dial *dial)
{
	const char *keywords[DIAL_MAX_OPTIONS + PARTS + 1];
	const char *values[DIAL_MAX_OPTIONS + PARTS + 1];
	int			n = dial->count;
	PGconn	   *conn;

	memcpy(keywords, dial->keywords, sizeof(dial->keywords));
	memcpy(values, dial->values, sizeof(dial->values));
	for (int part = 0; part < PARTS; part++)
		if (dial->left[part] != NULL)
		{
			keywords[n] = part_names[part];
			values[n++] = dial->left[part];
		}
	keywords[n] = values[n] = NULL;
	conn = PQconnectStartParams(keywords, values, 1);
	if (conn != NULL)
		dial_moved(dial, conn);
	return conn;
}

PGconn *
dial_begin(Dial *dial, const char *const *keywords, const char *const *values)
{
	dial_end(dial);
	for (dial->count = 0; dial->count < DIAL_MAX_OPTIONS && keywords[dial->count] != NULL; dial->count++)
	{
		dial->keywords[dial->count] = keywords[dial->count];
		dial->values[dial->count] = values[dial->count];
	}
	return start(dial);
}

bool
dial_moved(Dial *dial, const PGconn *conn)
{
	char		place[sizeof(dial->place)];
	bool		moved;

	snprintf(place, sizeof(place), "%s %s %s", PQhostaddr(conn), PQport(conn), PQhost(conn));
	moved = strcmp(place, dial->place) != 0;
	memcpy(dial->place, place, sizeof(place));
	return moved;
}

/* All places but those that are the one that conn is trying; false: none is left, or who knows which. */
static bool
leave_out_current(PGconn *conn, Places *left)
{
	Places		known = {.count = 0};
	bool		found = false;

	read_places(conn, &known);
	for (int i = 0; i < known.count && !known.failed; i++)
		if (!is_current(&known.all[i], conn))
			add_place(left, known.all[i].parts[HOST], known.all[i].parts[ADDRESS], known.all[i].parts[PORT]);
		else if (!found)
		{
			found = true;
			add_other_addresses(left, &known.all[i], PQhostaddr(conn));
		}
	/* An empty text would not take the place of a list: the last one is named twice. */
	for (int part = 0; part < PARTS && left->count == 1; part++)
		if (known.listed[part] && *left->all[0].parts[part] == '\0')
			add_place(left, left->all[0].parts[HOST], left->all[0].parts[ADDRESS], left->all[0].parts[PORT]);
	left->failed = left->failed || known.failed;
	free_places(&known);
	return found && left->count > 0 && !left->failed;
}

PGconn *
dial_next(Dial *dial, PGconn *conn)
{
	Places		left = {.count = 0};
	bool		good = leave_out_current(conn, &left);

	dial_end(dial);
	if (good)
		log_warn("a host of the database does not answer: trying the next", F_STR("host", PQhost(conn)), F_STR("address", PQhostaddr(conn)),
				 F_STR("port", PQport(conn)));
	for (int part = 0; part < PARTS && good; part++)
	{
		dial->left[part] = join(&left, part);
		good = dial->left[part] != NULL;
	}
	free_places(&left);
	PQfinish(conn);
	return good ? start(dial) : NULL;
}

void
dial_end(Dial *dial)
{
	for (int part = 0; part < PARTS; part++)
	{
		free(dial->left[part]);
		dial->left[part] = NULL;
	}
	dial->place[0] = '\0';
}
