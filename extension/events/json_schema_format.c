/*
 * json_schema_format.c
 *		The formats that are asserted: uuid, date, date-time, email.
 */
#include "events/json_schema_node.h"

#include <ctype.h>

#define EMAIL_LOCAL_MAX 64
#define EMAIL_MAX 254
#define LABEL_MAX 63

/* Exactly count digits; -1 when there are others. */
static int
digits(const char *s, int count)
{
	int			value = 0;

	for (int i = 0; i < count; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return -1;
		value = value * 10 + (s[i] - '0');
	}
	return value;
}

static bool
is_date(const char *s, int length)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			year,
				month,
				day;

	if (length != 10 || s[4] != '-' || s[7] != '-')
		return false;
	year = digits(s, 4);
	month = digits(s + 5, 2);
	day = digits(s + 8, 2);
	if (year < 0 || month < 1 || month > 12 || day < 1)
		return false;
	return day <= month_days[month - 1] +
		(month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0) ? 1 : 0);
}

/* Z or +hh:mm; *minutes is what to take away to get UTC. */
static bool
is_offset(const char *s, int length, int *minutes)
{
	int			hours,
				rest;

	*minutes = 0;
	if (length == 1)
		return s[0] == 'Z' || s[0] == 'z';
	if (length != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':')
		return false;
	hours = digits(s + 1, 2);
	rest = digits(s + 4, 2);
	if (hours < 0 || hours > 23 || rest < 0 || rest > 59)
		return false;
	*minutes = (s[0] == '+' ? 1 : -1) * (hours * 60 + rest);
	return true;
}

/* RFC 3339: the T is there, and a zone; a 60th second only where UTC has one. */
static bool
is_date_time(const char *s, int length)
{
	int			hour,
				minute,
				second,
				at = 19,
				offset;

	if (length < 20 || !is_date(s, 10) || (s[10] != 'T' && s[10] != 't') || s[13] != ':' || s[16] != ':')
		return false;
	hour = digits(s + 11, 2);
	minute = digits(s + 14, 2);
	second = digits(s + 17, 2);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	if (s[at] == '.')
	{
		int			start = ++at;

		while (at < length && s[at] >= '0' && s[at] <= '9')
			at++;
		if (at == start)
			return false;
	}
	if (!is_offset(s + at, length - at, &offset))
		return false;
	if (second == 60)
	{
		int			utc = ((hour * 60 + minute - offset) % 1440 + 1440) % 1440;

		return utc == 23 * 60 + 59;
	}
	return true;
}

static bool
is_atom(const char *s, int length)
{
	if (length < 1 || s[0] == '.' || s[length - 1] == '.')
		return false;
	for (int i = 0; i < length; i++)
	{
		if (s[i] == '.' && s[i + 1] == '.')
			return false;
		if (!isalnum((unsigned char) s[i]) && strchr(".!#$%&'*+/=?^_`{|}~-", s[i]) == NULL)
			return false;
	}
	return true;
}

static bool
is_quoted(const char *s, int length)
{
	if (length < 3 || s[0] != '"' || s[length - 1] != '"')
		return false;
	for (int i = 1; i < length - 1; i++)
	{
		if (i < length - 2 && s[i] == '\\')
			i++;
		else if (s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			return false;
	}
	return true;
}

static bool
is_domain(const char *s, int length)
{
	int			label = 0;

	if (length >= 3 && s[0] == '[' && s[length - 1] == ']')
	{
		for (int i = 1; i < length - 1; i++)
			if (!isxdigit((unsigned char) s[i]) && strchr(".:IPv", s[i]) == NULL)
				return false;
		return true;
	}
	for (int i = 0; i <= length; i++)
	{
		bool		ends = i == length || s[i] == '.';

		if (ends)
		{
			if (label == 0 || label > LABEL_MAX || s[i - 1] == '-')
				return false;
			label = 0;
		}
		else if (isalnum((unsigned char) s[i]) || (s[i] == '-' && label > 0))
			label++;
		else
			return false;
	}
	return true;
}

static bool
is_email(const char *s, int length)
{
	int			at = length - 1;

	while (at >= 0 && s[at] != '@')
		at--;
	if (at < 1 || at > EMAIL_LOCAL_MAX || length > EMAIL_MAX)
		return false;
	return (is_atom(s, at) || is_quoted(s, at)) && is_domain(s + at + 1, length - at - 1);
}

bool
schema_format_matches(SchemaFormat format, const char *string, int length)
{
	switch (format)
	{
		case FORMAT_UUID:
			return bo_uuid_parse(string, length, &(pg_uuid_t) {{0}});
		case FORMAT_DATE:
			return is_date(string, length);
		case FORMAT_DATE_TIME:
			return is_date_time(string, length);
		case FORMAT_EMAIL:
			return is_email(string, length);
		case FORMAT_ANY:
			break;
	}
	return true;
}
