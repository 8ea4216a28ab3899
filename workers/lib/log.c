#include "lib/log.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "lib/utf8.h"

#define LINE_MAX_BYTES 8192
#define MAX_SECRETS 16

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static char worker_name[64] = "worker";
static char instance_name[128] = "";
static LogLevel lowest = LOG_LEVEL_INFO;
static char *secrets[MAX_SECRETS];
static int	secret_count;

void
log_init(const char *worker, const char *instance, LogLevel level)
{
	snprintf(worker_name, sizeof(worker_name), "%s", worker);
	snprintf(instance_name, sizeof(instance_name), "%s", instance);
	lowest = level;
}

bool
log_level_parse(const char *text, LogLevel *level)
{
	for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++)
		if (strcasecmp(text, level_names[i]) == 0)
		{
			*level = (LogLevel) i;
			return true;
		}
	return false;
}

bool
log_wanted(LogLevel level)
{
	return level >= lowest;
}

void
log_secret(const char *value)
{
	if (value == NULL || strlen(value) < 3 || secret_count == MAX_SECRETS)
		return;
	for (int i = 0; i < secret_count; i++)
		if (strcmp(secrets[i], value) == 0)
			return;
	secrets[secret_count] = strdup(value);
	if (secrets[secret_count] != NULL)
		secret_count++;
}

void
log_secret_in_dsn(const char *dsn)
{
	PQconninfoOption *options = PQconninfoParse(dsn, NULL);

	if (options == NULL)
		return;
	for (PQconninfoOption *option = options; option->keyword != NULL; option++)
		if (strcmp(option->keyword, "password") == 0 || strcmp(option->keyword, "sslpassword") == 0)
			log_secret(option->val);
	PQconninfoFree(options);
}

/* Length of the secret that starts at text, or 0. */
static size_t
secret_at(const char *text, size_t left)
{
	for (int i = 0; i < secret_count; i++)
	{
		size_t		len = strlen(secrets[i]);

		if (len <= left && memcmp(text, secrets[i], len) == 0)
			return len;
	}
	return 0;
}

/* Writes one piece (at most 6 bytes) for the bytes at text; returns how many bytes it stands for. */
static size_t
escape_piece(char *piece, const char *text, size_t left)
{
	unsigned char c = (unsigned char) text[0];
	size_t		len = secret_at(text, left);

	if (len > 0)
	{
		strcpy(piece, "***");
		return len;
	}
	if (c == '"' || c == '\\')
	{
		piece[0] = '\\';
		piece[1] = (char) c;
		piece[2] = '\0';
		return 1;
	}
	if (c < 0x20 || c == 0x7f)
	{
		snprintf(piece, 8, "\\u%04x", c);
		return 1;
	}
	len = utf8_length(text, left);
	if (len == 0)
	{
		strcpy(piece, "\\ufffd");
		return 1;
	}
	memcpy(piece, text, len);
	piece[len] = '\0';
	return len;
}

size_t
log_json_string(char *out, size_t size, const char *text, size_t len)
{
	size_t		used = 0;

	if (size < 3)
	{
		out[0] = '\0';
		return 0;
	}
	out[used++] = '"';
	for (size_t i = 0; i < len;)
	{
		char		piece[8];
		size_t		taken = escape_piece(piece, text + i, len - i);
		size_t		piece_len = strlen(piece);

		if (used + piece_len + 2 > size)
			break;
		memcpy(out + used, piece, piece_len);
		used += piece_len;
		i += taken;
	}
	out[used++] = '"';
	out[used] = '\0';
	return used;
}

static size_t
format_time(char *out, size_t size, int64_t now_ms)
{
	time_t		seconds = (time_t) (now_ms / 1000);
	struct tm	tm;
	size_t		used;

	gmtime_r(&seconds, &tm);
	used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return used + (size_t) snprintf(out + used, size - used, ".%03dZ", (int) (now_ms % 1000));
}

static size_t
text_length(const LogField *field)
{
	if (field->text == NULL)
		return 0;
	return field->text_len == SIZE_MAX ? strlen(field->text) : field->text_len;
}

size_t
log_format(char *out, size_t size, int64_t now_ms, LogLevel level, const char *message,
		   const LogField *fields, size_t n)
{
	char		time_text[40];
	size_t		used;

	format_time(time_text, sizeof(time_text), now_ms);
	used = (size_t) snprintf(out, size, "{\"ts\":\"%s\",\"level\":\"%s\",\"worker\":\"%s\",\"instance\":",
							 time_text, level_names[level], worker_name);
	used += log_json_string(out + used, 300, instance_name, strlen(instance_name));
	used += (size_t) snprintf(out + used, size - used, ",\"msg\":");
	used += log_json_string(out + used, 1500, message, strlen(message));
	for (size_t i = 0; i < n; i++)
	{
		size_t		room = size - used - 4;

		/* A field that does not fit is left out, or cut when it is text. */
		if (fields[i].name == NULL || room < strlen(fields[i].name) + 40)
			continue;
		used += (size_t) snprintf(out + used, size - used, ",\"%s\":", fields[i].name);
		if (!fields[i].is_text)
			used += (size_t) snprintf(out + used, size - used, "%" PRId64, fields[i].number);
		else
			used += log_json_string(out + used, size - used - 4, fields[i].text, text_length(&fields[i]));
	}
	out[used++] = '}';
	out[used++] = '\n';
	out[used] = '\0';
	return used;
}

void
log_write(LogLevel level, const char *message, const LogField *fields, size_t n)
{
	char		line[LINE_MAX_BYTES];
	struct timespec now;
	size_t		len;
	size_t		done = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	len = log_format(line, sizeof(line), (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000, level, message, fields, n);
	/* One write a line, so that lines of several threads do not mix. */
	while (done < len)
	{
		ssize_t		written = write(STDERR_FILENO, line + done, len - done);

		if (written <= 0)
			break;
		done += (size_t) written;
	}
}
