/*
 * One JSON object a line on standard error:
 *	{"ts":"…Z","level":"info","worker":"kafka-relay","instance":"…","msg":"…", fields…}
 * Values registered as secrets are masked wherever they would appear.
 */
#ifndef BACKOFFICE_LOG_H
#define BACKOFFICE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum LogLevel
{
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR
} LogLevel;

typedef struct LogField
{
	const char *name;			/* NULL: no field */
	bool		is_text;
	const char *text;			/* NULL: an empty one */
	size_t		text_len;		/* SIZE_MAX: up to the NUL */
	int64_t		number;
} LogField;

#define F_STR(field, value)		{.name = (field), .is_text = true, .text = (value), .text_len = SIZE_MAX}
#define F_TEXT(field, value, len) {.name = (field), .is_text = true, .text = (value), .text_len = (len)}
#define F_INT(field, value)		{.name = (field), .number = (int64_t) (value)}

#define log_at(level, message, ...) \
	do { \
		if (log_wanted(level)) \
		{ \
			LogField	log_fields_[] = {{.name = NULL}, ##__VA_ARGS__}; \
			log_write(level, message, log_fields_, sizeof(log_fields_) / sizeof(log_fields_[0])); \
		} \
	} while (0)
#define log_debug(...)	log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)	log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...)	log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

extern void log_init(const char *worker, const char *instance, LogLevel level);
extern bool log_level_parse(const char *text, LogLevel *level);
extern bool log_wanted(LogLevel level);
extern void log_write(LogLevel level, const char *message, const LogField *fields, size_t n);

/* Masks this value from now on. Values shorter than three bytes are not masked: they would hit everything. */
extern void log_secret(const char *value);
extern void log_secret_in_dsn(const char *dsn);

/* A JSON string, quotes included, appended at out (size > 0); the result is always whole and terminated. Returns its length. */
extern size_t log_json_string(char *out, size_t size, const char *text, size_t len);
extern size_t log_format(char *out, size_t size, int64_t now_ms, LogLevel level, const char *message,
						 const LogField *fields, size_t n);

#endif
