/* The gateway's pure parts that every request goes through: text, and the statements of the pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/reason.h"
#include "gateway/statements.h"
#include "gateway/text.h"
#include "lib/utf8.h"

static void
text_is_checked(void **state)
{
	char		out[64];

	(void) state;
	assert_true(text_percent_decode("a%20b+c", 7, false, out));
	assert_string_equal(out, "a b+c");
	assert_true(text_percent_decode("a+b%2B", 6, true, out));
	assert_string_equal(out, "a b+");
	assert_false(text_percent_decode("a%0", 3, false, out));
	assert_false(text_percent_decode("a%gg", 4, false, out));
	assert_false(text_percent_decode("%00", 3, false, out));
	assert_false(text_percent_decode("%ff", 3, false, out));
	assert_true(text_percent_decode("%c3%a4", 6, false, out));
	*text_json_string(out, "a\"\\\n\001", 5) = '\0';
	assert_string_equal(out, "\"a\\\"\\\\\\u000a\\u0001\"");
	assert_true(text_is_traceparent("00-bd10bdc90e1dfdf01d27d1c6a83656cb-4bb8afd0d44fa50e-01"));
	assert_false(text_is_traceparent("00-00000000000000000000000000000000-4bb8afd0d44fa50e-01"));
	assert_false(text_is_traceparent("ff-bd10bdc90e1dfdf01d27d1c6a83656cb-4bb8afd0d44fa50e-01"));
	assert_false(text_is_traceparent("00-BD10bdc90e1dfdf01d27d1c6a83656cb-4bb8afd0d44fa50e-01"));
	assert_true(text_is_request_id("abc-1.2_3"));
	assert_false(text_is_request_id("a\"b"));
	assert_false(text_is_request_id(""));
}

/* Text is looked at in pieces of eight bytes: every byte at every place of two such pieces and a bit. */
static void
every_byte_at_every_place(void **state)
{
	(void) state;
	for (int byte = 1; byte < 256; byte++)
		for (size_t at = 0; at < 19; at++)
		{
			char		text[20] = "!!!!!!!!!!!!!!!!!!!";
			char		out[128];
			char		wanted[128];
			bool		plain = byte >= 0x20 && byte != 0x7f && byte != '"' && byte != '\\';

			text[at] = (char) byte;
			*text_json_string(out, text, 19) = '\0';
			if (plain)
				snprintf(wanted, sizeof(wanted), "\"%s\"", text);
			else if (byte == '"' || byte == '\\')
				snprintf(wanted, sizeof(wanted), "\"%.*s\\%c%s\"", (int) at, text, byte, text + at + 1);
			else
				snprintf(wanted, sizeof(wanted), "\"%.*s\\u00%02x%s\"", (int) at, text, byte, text + at + 1);
			assert_string_equal(out, wanted);
			assert_true(utf8_is_valid(text, 19) == (byte < 0x80));
		}
	assert_true(utf8_is_valid("12345678\xc3\xa4", 10));
	assert_true(utf8_is_valid("1234567\xc3\xa4", 9));
	assert_false(utf8_is_valid("12345678\xc3", 9));
	assert_true(text_hash64("12345678", 8) != text_hash64("12345679", 8));
	assert_true(text_hash64("1234567890", 10) != text_hash64("1234567891", 10));
	assert_true(text_hash64("", 0) != text_hash64("\0", 1));
}

/* ---- statements ---- */

static void
statements_are_known(void **state)
{
	static Statements statements;
	Known	   *known = statements_find(&statements, "SELECT 1", false);
	char		name[24];

	(void) state;
	assert_ptr_equal(statements_find(&statements, "SELECT 1", false), known);
	assert_ptr_not_equal(statements_find(&statements, "SELECT 2", false), known);
	assert_false(known_is_fast(known, 1000));
	for (int i = 0; i < 3; i++)
		known_measure(known, 500);
	assert_true(known_is_fast(known, 1000));
	for (int i = 0; i < 20; i++)
		known_measure(known, 5000);
	assert_false(known_is_fast(known, 1000));
	known_renew(known);
	known_name(known, name, sizeof(name));
	assert_string_equal(name, "s0_2");
	for (int i = 0; i < 2 * STATEMENTS_MAX; i++)
	{
		char		sql[32];

		snprintf(sql, sizeof(sql), "SELECT %d", i + 3);
		statements_find(&statements, sql, false);
	}
	statements_free(&statements);
}

static uint32_t
taken_up(const Statements *statements)
{
	uint32_t	sum = 0;

	for (int i = 0; i < statements->count; i++)
		sum += statements->known[i].generation;
	return sum;
}

/* Each that is new takes the place of the one that was not used for longest, under a name of its own. */
static void
statements_give_way(void **state)
{
	static Statements statements;
	Known	   *kept = statements_find(&statements, "SELECT 'kept'", false);
	Known	   *first = statements_find(&statements, "SELECT 0", false);
	uint32_t	generation = first->generation;
	char		sql[32];
	char		name[24];

	(void) state;
	for (int i = 1; i < 5 * STATEMENTS_MAX; i++)
	{
		Known	   *known;

		snprintf(sql, sizeof(sql), "SELECT %d", i);
		known = statements_find(&statements, sql, false);
		assert_string_equal(known->sql, sql);
		/* The others that there is room for are found where they were. */
		for (int j = i < STATEMENTS_MAX ? 0 : i - STATEMENTS_MAX + 2; i % 100 == 0 && j <= i; j++)
		{
			snprintf(sql, sizeof(sql), "SELECT %d", j);
			assert_string_equal(statements_find(&statements, sql, false)->sql, sql);
		}
		assert_ptr_equal(statements_find(&statements, "SELECT 'kept'", false), kept);
		assert_int_equal(taken_up(&statements), i + 2);
	}
	assert_int_equal(statements.count, STATEMENTS_MAX);
	assert_true(first->generation > generation);
	assert_string_not_equal(first->sql, "SELECT 0");
	known_name(first, name, sizeof(name));
	assert_string_not_equal(name, "s1_1");
	assert_int_equal(kept->generation, 1);
	statements_free(&statements);
}

static void
one_offs_are_known_when_they_come_often(void **state)
{
	static Statements statements;
	char		sql[32];

	(void) state;
	for (int i = 1; i < ONE_OFF_OFTEN; i++)
		assert_null(statements_find(&statements, "SELECT 1", true));
	assert_non_null(statements_find(&statements, "SELECT 1", true));
	/* However many come, there is room for the others. */
	for (int i = 0; i < 2 * STATEMENTS_MAX; i++)
		for (int times = 0; times < ONE_OFF_OFTEN; times++)
		{
			snprintf(sql, sizeof(sql), "SELECT %d", i + 2);
			statements_find(&statements, sql, true);
		}
	assert_int_equal(statements.count, ONE_OFFS_MAX);
	snprintf(sql, sizeof(sql), "SELECT %d", 2 * STATEMENTS_MAX + 1);
	assert_non_null(statements_find(&statements, sql, true));
	/* The one that gave way comes back as it came. */
	for (int i = 1; i < ONE_OFF_OFTEN; i++)
		assert_null(statements_find(&statements, "SELECT 1", true));
	assert_non_null(statements_find(&statements, "SELECT 1", true));
	assert_int_equal(statements.one_offs, ONE_OFFS_MAX);
	assert_non_null(statements_find(&statements, "SELECT 'a route'", false));
	statements_free(&statements);
}

static const char *
phrase_of(unsigned int status)
{
	static char phrase[2 * REASON_MAX];

	snprintf(phrase, sizeof(phrase), "%.*s", (int) MHD_get_reason_phrase_len_for(status), MHD_get_reason_phrase_for(status));
	return phrase;
}

static void
a_reason_phrase_is_said_once(void **state)
{
	char		text[3 * REASON_MAX];

	(void) state;
	assert_string_equal(phrase_of(404), "Not Found");
	reason_set(404, "Not Here");
	assert_string_equal(phrase_of(500), "Internal Server Error");
	assert_string_equal(phrase_of(404), "Not Here");
	assert_string_equal(phrase_of(404), "Not Found");
	reason_set(404, "Not Here");
	reason_set(404, NULL);
	assert_string_equal(phrase_of(404), "Not Found");
	reason_set(404, "");
	assert_string_equal(phrase_of(404), "Not Found");
	for (int c = 1; c < 0x80; c = c == 31 ? 0x7f : c + 1)
	{
		snprintf(text, sizeof(text), "OK%cSet-Cookie: a", c);
		reason_set(404, text);
		assert_string_equal(phrase_of(404), "Not Found");
	}
	/* Cut, but not within a character. */
	for (int before = 0; before < 3; before++)
	{
		memset(text, 'x', sizeof(text));
		for (size_t i = (size_t) before; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4);
		reason_set(404, text);
		assert_int_equal(MHD_get_reason_phrase_len_for(404), REASON_MAX - (REASON_MAX - before) % 3);
		assert_true(utf8_is_valid(MHD_get_reason_phrase_for(404), (size_t) (REASON_MAX - (REASON_MAX - before) % 3)));
	}
	reason_set(404, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_checked),
		cmocka_unit_test(every_byte_at_every_place),
		cmocka_unit_test(statements_are_known),
		cmocka_unit_test(statements_give_way),
		cmocka_unit_test(one_offs_are_known_when_they_come_often),
		cmocka_unit_test(a_reason_phrase_is_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
