#include "lib/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_ITEMS 64

static void
conf_env_name(const char *name, char *out, size_t size)
{
	size_t		used = (size_t) snprintf(out, size, "%s", strncmp(name, "kafka-", 6) == 0 ? "" : "BACKOFFICE_");

	for (; *name != '\0' && used + 1 < size; name++)
		out[used++] = *name == '-' ? '_' : (char) toupper((unsigned char) *name);
	out[used] = '\0';
}

static void
print_help(const ConfProgram *program, FILE *out)
{
	fprintf(out, "%s: %s\n\nSettings (flag, environment, default):\n", program->name, program->purpose);
	for (size_t i = 0; i < program->item_count; i++)
	{
		const ConfItem *item = &program->items[i];
		char		env[80];

		conf_env_name(item->name, env, sizeof(env));
		fprintf(out, "  --%-22s %-32s %s%s%s\n      %s\n", item->name, env,
				item->fallback == NULL ? "(must be given)" : *item->fallback == '\0' ? "(none)" : item->fallback,
				item->unit != NULL && item->fallback != NULL ? " " : "",
				item->unit != NULL && item->fallback != NULL ? item->unit : "", item->help);
	}
	fprintf(out, "  --check                validate the settings and exit: 0 when they are good, 2 when not\n"
			"  --help, --version\n\nExamples:\n%s", program->examples);
}

static bool
set_int(const ConfItem *item, const char *text, const char *whence, FILE *err)
{
	char	   *end;
	int64_t		value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
	{
		fprintf(err, "%s: not a whole number\n", whence);
		return false;
	}
	if (value < item->min || value > item->max)
	{
		fprintf(err, "%s: %" PRId64 " is outside %" PRId64 " .. %" PRId64 "%s%s\n", whence, value,
				item->min, item->max, item->unit ? " " : "", item->unit ? item->unit : "");
		return false;
	}
	*(int64_t *) item->target = value;
	return true;
}

static bool
set_bool(const ConfItem *item, const char *text, const char *whence, FILE *err)
{
	static const char *const yes[] = {"1", "on", "true", "yes"};
	static const char *const no[] = {"0", "off", "false", "no"};

	for (size_t i = 0; i < 4; i++)
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0)
		{
			*(bool *) item->target = strcasecmp(text, yes[i]) == 0;
			return true;
		}
	fprintf(err, "%s: neither on nor off\n", whence);
	return false;
}

/* An item with a blank before it would be another name than was meant, and nobody would be told. */
static bool
set_list(const ConfItem *item, const char *text, const char *whence, FILE *err)
{
	char	   *list = calloc(strlen(text) + 1, 1);
	size_t		used = 0;

	for (const char *at = text; list != NULL && *text != '\0'; at++)
	{
		size_t		len = strcspn(at, ",");
		const char *next = at + len;

		for (; len > 0 && isspace((unsigned char) *at); len--)
			at++;
		while (len > 0 && isspace((unsigned char) at[len - 1]))
			len--;
		if (len == 0)
		{
			fprintf(err, "%s: an item of the list is empty\n", whence);
			free(list);
			return false;
		}
		memcpy(list + used, at, len);
		used += len;
		at = next;
		if (*at == '\0')
			break;
		list[used++] = ',';
	}
	if (list == NULL)
		fprintf(err, "%s: out of memory\n", whence);
	else
		*(const char **) item->target = list;
	return list != NULL;
}

static bool
set_item(const ConfItem *item, const char *text, const char *whence, FILE *err)
{
	switch (item->type)
	{
		case CONF_INT:
			return set_int(item, text, whence, err);
		case CONF_BOOL:
			return set_bool(item, text, whence, err);
		case CONF_TEXT:
		case CONF_LIST:
			break;
	}
	/* min counts characters here: 1 makes an empty text an error. */
	if ((int64_t) strlen(text) < item->min)
	{
		fprintf(err, "%s: must not be empty\n", whence);
		return false;
	}
	if (item->type == CONF_LIST)
		return set_list(item, text, whence, err);
	*(const char **) item->target = text;
	return true;
}

/* Finds the item of a flag "name" or "name=value"; *value is set when the flag carries it. */
static const ConfItem *
find_item(const ConfProgram *program, const char *flag, const char **value)
{
	const char *equals = strchr(flag, '=');
	size_t		len = equals != NULL ? (size_t) (equals - flag) : strlen(flag);

	*value = equals != NULL ? equals + 1 : NULL;
	for (size_t i = 0; i < program->item_count; i++)
		if (strlen(program->items[i].name) == len && strncmp(program->items[i].name, flag, len) == 0)
			return &program->items[i];
	return NULL;
}

/* Says which argument nobody knows, by its name: its value, or what looks like no flag, may be a password. */
static void
refuse_argument(char **argv, int i, FILE *err)
{
	size_t		len = strcspn(argv[i], "=");

	if (len > 2 && strncmp(argv[i], "--", 2) == 0 && strspn(argv[i], "-_abcdefghijklmnopqrstuvwxyz0123456789") == len)
		fprintf(err, "%.*s: unknown argument (see --help)\n", (int) len, argv[i]);
	else
		fprintf(err, "argument %d: not a flag (see --help)\n", i);
}

/* Reads the flags; false when --help or --version answered. */
static bool
read_flags(const ConfProgram *program, int argc, char **argv, bool *given, bool *check, bool *good, FILE *out, FILE *err)
{
	for (int i = 1; i < argc; i++)
	{
		const char *value = NULL;
		const ConfItem *item;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
		{
			print_help(program, out);
			return false;
		}
		if (strcmp(argv[i], "--version") == 0)
		{
			fprintf(out, "%s %s\n", program->name, BACKOFFICE_VERSION);
			return false;
		}
		if (strcmp(argv[i], "--check") == 0)
		{
			*check = true;
			continue;
		}
		item = strncmp(argv[i], "--", 2) == 0 ? find_item(program, argv[i] + 2, &value) : NULL;
		if (item == NULL)
		{
			refuse_argument(argv, i, err);
			*good = false;
			continue;
		}
		if (value == NULL && item->type == CONF_BOOL && (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0))
			value = "on";
		else if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value == NULL)
		{
			fprintf(err, "%s: needs a value\n", argv[i]);
			*good = false;
			continue;
		}
		given[item - program->items] = true;
		if (!set_item(item, value, item->name, err))
			*good = false;
	}
	return true;
}

ConfVerdict
conf_read(const ConfProgram *program, int argc, char **argv, char *(*get_env) (const char *), FILE *out, FILE *err)
{
	bool		given[MAX_ITEMS] = {false};
	bool		check = false;
	bool		good = program->item_count <= MAX_ITEMS;

	if (!good || !read_flags(program, argc, argv, given, &check, &good, out, err))
		return good ? CONF_DONE : CONF_WRONG;
	for (size_t i = 0; i < program->item_count; i++)
	{
		const ConfItem *item = &program->items[i];
		char		env[80];
		const char *text;

		if (given[i])
			continue;
		conf_env_name(item->name, env, sizeof(env));
		text = get_env(env);
		if (text != NULL)
			good = set_item(item, text, env, err) && good;
		else if (item->fallback == NULL)
		{
			fprintf(err, "%s: must be given, as --%s or in the environment\n", env, item->name);
			good = false;
		}
		else
			good = set_item(&(ConfItem) {.name = item->name, .type = item->type, .target = item->target,
									.min = item->type == CONF_INT ? item->min : 0, .max = item->max, .unit = item->unit},
							item->fallback, env, err) && good;
	}
	if (!good)
		return CONF_WRONG;
	return check ? CONF_CHECK : CONF_RUN;
}
