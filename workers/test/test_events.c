/* Event streams' pure parts: WebSocket frames, what events look like, filters, tickets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/events_filter.h"
#include "gateway/events_format.h"
#include "gateway/events_frame.h"
#include "gateway/events_seal.h"
#include "gateway/events_ticket.h"

/* ---- frames ---- */

typedef struct Frames
{
	uint8_t		bytes[70000];
	size_t		len;
} Frames;

static void
add_frame(Frames *frames, int first, const void *payload, size_t len)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	uint8_t		head[FRAME_HEAD_MAX];
	size_t		head_len = frame_head(head, 0, len);

	head[0] = (uint8_t) first;
	head[1] |= 0x80;
	memcpy(frames->bytes + frames->len, head, head_len);
	frames->len += head_len;
	memcpy(frames->bytes + frames->len, mask, 4);
	frames->len += 4;
	for (size_t i = 0; i < len; i++)
		frames->bytes[frames->len++] = ((const uint8_t *) payload)[i] ^ mask[i & 3];
}

/* The first thing that is complete, read in pieces. */
static FrameResult
first_result(const Frames *frames, size_t piece, FrameReader *reader)
{
	FrameResult result = FRAME_MORE;

	memset(reader, 0, sizeof(*reader));
	for (size_t at = 0; at < frames->len && result == FRAME_MORE;)
		at += frame_read(reader, frames->bytes + at, piece < frames->len - at ? piece : frames->len - at, &result);
	return result;
}

static void
expect(const Frames *frames, FrameResult wanted, int code)
{
	static const size_t pieces[] = {1, 2, 5, 70000};
	FrameReader reader;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
	{
		assert_int_equal(first_result(frames, pieces[i], &reader), wanted);
		if (code != 0)
			assert_int_equal(reader.close_code, code);
	}
}

static void
expect_frame(int first, const char *payload, size_t len, FrameResult wanted, int code)
{
	Frames	   *frames = calloc(1, sizeof(*frames));

	add_frame(frames, first, payload, len);
	expect(frames, wanted, code);
	free(frames);
}

static void
frames_are_read(void **state)
{
	static char long_text[70000];

	(void) state;
	memset(long_text, 'x', sizeof(long_text));
	expect_frame(0x81, "Hello", 5, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x82, "\xff\0", 2, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x81, "", 0, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x81, long_text, 125, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x81, long_text, 126, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x81, long_text, FRAME_MAX_MESSAGE, FRAME_MESSAGE_CAME, 0);
	expect_frame(0x81, long_text, FRAME_MAX_MESSAGE + 1, FRAME_WRONG, CLOSE_TOO_BIG);
	expect_frame(0x81, long_text, 66000, FRAME_WRONG, CLOSE_TOO_BIG);
	expect_frame(0x89, "ping", 4, FRAME_PING_CAME, 0);
	expect_frame(0x8a, "", 0, FRAME_PONG_CAME, 0);
	expect_frame(0x88, "", 0, FRAME_CLOSE_CAME, CLOSE_NO_STATUS);
	expect_frame(0x88, "\x03\xe8" "bye", 5, FRAME_CLOSE_CAME, 1000);
	expect_frame(0x88, "\x0f\xa0", 2, FRAME_CLOSE_CAME, 4000);
}

static void
frames_are_refused(void **state)
{
	static const uint8_t not_masked[] = {0x81, 0x01, 'x'};
	static const uint8_t not_shortest[] = {0x81, 0x80 | 126, 0, 125};
	static const uint8_t not_shortest_8[] = {0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t negative[] = {0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0};
	Frames		frames = {.len = sizeof(not_masked)};
	char		text[FRAME_MAX_CONTROL + 1] = {0};

	(void) state;
	memcpy(frames.bytes, not_masked, sizeof(not_masked));
	expect(&frames, FRAME_WRONG, CLOSE_PROTOCOL);
	for (int i = 0; i < 3; i++)
	{
		const uint8_t *bytes = i == 0 ? not_shortest : i == 1 ? not_shortest_8 : negative;

		frames.len = i == 0 ? sizeof(not_shortest) : sizeof(negative);
		memcpy(frames.bytes, bytes, frames.len);
		memset(frames.bytes + frames.len, 0, 4);
		frames.len += 4;
		expect(&frames, FRAME_WRONG, CLOSE_PROTOCOL);
	}
	for (int bit = 0x10; bit < 0x80; bit <<= 1)
		expect_frame(0x81 | bit, "x", 1, FRAME_WRONG, CLOSE_PROTOCOL);
	for (int opcode = 3; opcode < 16; opcode++)
		if (opcode < FRAME_CLOSE || opcode > FRAME_PONG)
			expect_frame(0x80 | opcode, "x", 1, FRAME_WRONG, CLOSE_PROTOCOL);
	for (int opcode = FRAME_CLOSE; opcode <= FRAME_PONG; opcode++)
	{
		expect_frame(opcode, "", 0, FRAME_WRONG, CLOSE_PROTOCOL);
		expect_frame(0x80 | opcode, text, sizeof(text), FRAME_WRONG, CLOSE_PROTOCOL);
	}
	expect_frame(0x80, "x", 1, FRAME_WRONG, CLOSE_PROTOCOL);
	expect_frame(0x88, "\x03", 1, FRAME_WRONG, CLOSE_PROTOCOL);
	expect_frame(0x88, "\x03\xed", 2, FRAME_WRONG, CLOSE_PROTOCOL);
	expect_frame(0x88, "\x03\xe7", 2, FRAME_WRONG, CLOSE_PROTOCOL);
	expect_frame(0x88, "\x0b\xb7", 2, FRAME_WRONG, CLOSE_PROTOCOL);
	expect_frame(0x88, "\x03\xe8\xff", 3, FRAME_WRONG, CLOSE_NOT_UTF8);
	expect_frame(0x88, "\x03\xe8\xc3", 3, FRAME_WRONG, CLOSE_NOT_UTF8);
}

static void
text_is_checked(void **state)
{
	static const char *const good[] = {"\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
	"\xff", "\xe2\x82", "\xc3(", "\xf0\x90\x80"};

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		expect_frame(0x81, good[i], strlen(good[i]), FRAME_MESSAGE_CAME, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_frame(0x81, bad[i], strlen(bad[i]), FRAME_WRONG, CLOSE_NOT_UTF8);
}

static void
fragments_are_joined(void **state)
{
	Frames	   *frames = calloc(1, sizeof(*frames));
	FrameReader reader;
	FrameResult result;
	size_t		at;

	(void) state;
	add_frame(frames, 0x01, "\xe2", 1);
	add_frame(frames, 0x89, "in between", 10);
	add_frame(frames, 0x00, "\x82", 1);
	add_frame(frames, 0x80, "\xac", 1);
	memset(&reader, 0, sizeof(reader));
	at = frame_read(&reader, frames->bytes, frames->len, &result);
	assert_int_equal(result, FRAME_PING_CAME);
	assert_memory_equal(reader.control, "in between", 10);
	frame_read(&reader, frames->bytes + at, frames->len - at, &result);
	assert_int_equal(result, FRAME_MESSAGE_CAME);
	/* A new message while one is not complete. */
	frames->len = 0;
	add_frame(frames, 0x01, "a", 1);
	add_frame(frames, 0x81, "b", 1);
	expect(frames, FRAME_WRONG, CLOSE_PROTOCOL);
	/* Pieces that are too long together. */
	frames->len = 0;
	for (int i = 0; i < 5; i++)
	{
		static const char piece[1000];

		add_frame(frames, i == 0 ? 0x02 : 0x00, piece, sizeof(piece));
	}
	expect(frames, FRAME_WRONG, CLOSE_TOO_BIG);
	free(frames);
}

static void
handshakes_are_answered(void **state)
{
	char		accept[32];

	(void) state;
	/* The example of RFC 6455. */
	assert_true(frame_accept("dGhlIHNhbXBsZSBub25jZQ==", accept));
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_false(frame_accept("dGhlIHNhbXBsZSBub25jZ", accept));
	assert_false(frame_accept("dGhlIHNhbXBsZSBub25jZQQQ", accept));
	assert_false(frame_accept("!!!!IHNhbXBsZSBub25jZQ==", accept));
}

/* ---- events ---- */

#define BYTES(text) {text, sizeof(text) - 1}

static const Event sample = {
	.position = {0xab, 12, 345}, .id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}, .has_organization = true,
	.occurred_at_us = 1700000000123456, .topic = BYTES("Topic"), .key = BYTES("k\"1\n"), .type = BYTES("order.paid"),
	.payload = BYTES("{\"a\":\n1}"), .headers = {NULL, 0}
};

#define SAMPLE_JSON "{\"position\":\"ab:12:345\",\"id\":\"01020304-0506-0708-090a-0b0c0d0e0fff\",\"topic\":\"Topic\",\"key\":\"k\\\"1\\u000a\"," \
	"\"type\":\"order.paid\",\"occurred_at\":\"2023-11-14T22:13:20.123456Z\",\"payload\":{\"a\": 1},\"headers\":null}"

static void
expect_chunk(Chunk *chunk, const char *text, size_t skipped)
{
	assert_non_null(chunk);
	assert_int_equal(chunk->len - skipped, strlen(text));
	assert_memory_equal(chunk->bytes + skipped, text, strlen(text));
	chunk_free(chunk);
}

static void
events_are_formatted(void **state)
{
	Event		old = sample;
	Chunk	   *chunk;

	(void) state;
	expect_chunk(format_event(&sample, "ab:12:345", FORM_SSE), "id: ab:12:345\ndata: " SAMPLE_JSON "\n\n", 0);
	chunk = format_event(&sample, "ab:12:345", FORM_WEBSOCKET);
	assert_int_equal((uint8_t) chunk->bytes[0], 0x81);
	assert_int_equal(chunk->bytes[1], 126);
	expect_chunk(chunk, SAMPLE_JSON, 4);
	old.occurred_at_us = -1;
	old.key = (Bytes) {NULL, 0};
	old.headers = (Bytes) BYTES("{\"traceparent\": \"x\"}");
	chunk = format_event(&old, "x", FORM_SSE);
	assert_non_null(strstr(chunk->bytes, "\"key\":null"));
	assert_non_null(strstr(chunk->bytes, "\"1969-12-31T23:59:59.999999Z\""));
	assert_non_null(strstr(chunk->bytes, "\"headers\":{\"traceparent\": \"x\"}"));
	chunk_free(chunk);
}

static void
notices_are_formatted(void **state)
{
	char		message[400];
	Chunk	   *chunk;

	(void) state;
	expect_chunk(format_start("1:2:3", 3000, FORM_SSE), "retry: 3000\nid: 1:2:3\n\n", 0);
	expect_chunk(format_start("1:2:3", 3000, FORM_WEBSOCKET), "{\"control\":\"ready\",\"position\":\"1:2:3\"}", 2);
	expect_chunk(format_ping(NULL, FORM_SSE), ":\n\n", 0);
	expect_chunk(format_ping("1:2:3", FORM_SSE), ":\nid: 1:2:3\n\n", 0);
	chunk = format_ping(NULL, FORM_WEBSOCKET);
	assert_int_equal(chunk->len, 2);
	assert_memory_equal(chunk->bytes, "\x89\0", 2);
	chunk_free(chunk);
	expect_chunk(format_closing("slow", "say \"a\"", 4408, 5, false, FORM_SSE),
				 "retry: 5\nevent: closing\ndata: {\"code\":\"slow\",\"message\":\"say \\\"a\\\"\"}\n\n", 0);
	expect_chunk(format_closing("gone", "", 4410, 5, true, FORM_SSE), "retry: 5\nid\nevent: closing\ndata: {\"code\":\"gone\",\"message\":\"\"}\n\n", 0);
	expect_chunk(format_closing("gone", "m", 4410, 5, true, FORM_WEBSOCKET),
				 "{\"control\":\"closing\",\"code\":\"gone\",\"message\":\"m\",\"retry_ms\":5}\x88\x06\x11\x3agone", 2);
	/* A long message is cut, between characters, however it is escaped. */
	memset(message, '\x01', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	for (int i = 0; i < 2; i++)
	{
		memcpy(message + 79, i == 0 ? "\xe2\x82\xac" : "xxx", 3);
		chunk = format_closing("a_code_that_is_long_for_one", message, 4410, 1000000, true, FORM_SSE);
		assert_true(chunk->len > 400 && memcmp(chunk->bytes + chunk->len - 4, "\"}\n\n", 4) == 0);
		assert_null(memchr(chunk->bytes, 0xe2, chunk->len));
		chunk_free(chunk);
	}
}

static void
positions_are_parsed(void **state)
{
	static const char *const bad[] = {"", "1", "1:2", "1:2:", ":2:3", "1:2:3:4", "g:2:3", "1:-2:3", " 1:2:3", "1:2:3 ", "100000000:1:1", "1:9223372036854775808:1"};
	Position	position;
	char		text[POSITION_TEXT];

	(void) state;
	assert_true(position_parse("ffffffff:9223372036854775807:0", &position));
	position_text(&position, text);
	assert_string_equal(text, "ffffffff:9223372036854775807:0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(position_parse(bad[i], &position));
}

/* ---- sealed positions ---- */

static Seal *
seal_of(int count, const char *const *keys)
{
	PGresult   *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc column = {(char *) "key", 0, 0, 0, 25, -1, -1};
	Seal	   *seal;

	assert_true(PQsetResultAttrs(result, 1, &column));
	for (int i = 0; i < count; i++)
		assert_true(PQsetvalue(result, i, 0, (char *) keys[i], (int) strlen(keys[i])));
	seal = seal_read(result);
	PQclear(result);
	return seal;
}

#define KEY_A "a 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "a_key_of_16_char ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void
positions_are_sealed(void **state)
{
	static const char *const keys[] = {KEY_A, KEY_B};
	static const char *const rotated[] = {KEY_B, KEY_A};
	static const char *const none[] = {"", "a", "a 00", "longer_than_16_chars 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"};
	static const char *const bad[] = {"", ".", "a", "a.", "1:2:3", ".AAAA", "a.AAAA", "a_key_longer_than_16.AAAA"};
	unsigned char mine[16] = {1};
	unsigned char others[16] = {2};
	Seal	   *seal = seal_of(2, keys);
	Seal	   *later = seal_of(2, rotated);
	Seal	   *gone = seal_of(1, rotated);
	Position	position = {0xffffffff, INT64_MAX, 0};
	Position	got;
	char		text[SEAL_TEXT];
	char		again[SEAL_TEXT];

	(void) state;
	assert_null(seal_of(4, none));
	seal_position(seal, mine, &position, text);
	assert_int_equal(strlen(text), 61);
	assert_memory_equal(text, "a.", 2);
	assert_int_equal(seal_open(seal, mine, text, &got), SEAL_GOOD);
	assert_true(got.epoch == position.epoch && got.tick == position.tick && got.seq == position.seq);
	/* Never the same twice, as long for every position, and nobody else's. */
	seal_position(seal, mine, &position, again);
	assert_string_not_equal(text, again);
	seal_position(seal, mine, &(Position) {0}, again);
	assert_int_equal(strlen(text), strlen(again));
	assert_int_equal(seal_open(seal, others, text, &got), SEAL_BAD);
	/* A key that is the current one no longer; one that is gone. */
	assert_int_equal(seal_open(later, mine, text, &got), SEAL_GOOD);
	seal_position(later, mine, &position, again);
	assert_true(seal_has_key(seal, again) && seal_open(seal, mine, again, &got) == SEAL_GOOD);
	assert_true(strlen(again) < SEAL_TEXT && !seal_has_key(gone, text));
	assert_int_equal(seal_open(gone, mine, text, &got), SEAL_KEY_GONE);
	for (size_t i = 0; text[i] != '\0'; i++)
	{
		strcpy(again, text);
		again[i] = again[i] == 'B' ? 'C' : 'B';
		/* Of the last character four bits count. */
		if (text[i + 1] != '\0')
			assert_int_not_equal(seal_open(seal, mine, again, &got), SEAL_GOOD);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(seal_open(seal, mine, bad[i], &got), SEAL_BAD);
	seal_free(seal);
	seal_free(later);
	seal_free(gone);
}

/* ---- filters, tickets ---- */

static bool
matches(const char *topics, const char *types, const char *key)
{
	Filter	   *filter = calloc(1, sizeof(*filter));
	bool		result;

	if (topics != NULL)
		filter->topics = filter_list(topics, FILTER_MAX_TOPIC, &filter->topic_count);
	if (types != NULL)
		filter->types = filter_list(types, FILTER_MAX_TYPE, &filter->type_count);
	filter->key = key != NULL ? strdup(key) : NULL;
	result = filter_matches(filter, &sample);
	filter_free(filter);
	return result;
}

static void
filters_choose(void **state)
{
	int			count;
	char		many[80] = "x";

	(void) state;
	assert_true(filter_matches(NULL, &sample) && matches(NULL, NULL, NULL));
	assert_true(matches("a,Topic", "x,order.paid", "k\"1\n") && matches(NULL, "order.*", NULL) && matches(NULL, "*", NULL));
	assert_false(matches("Topi", NULL, NULL) || matches("Topic2", NULL, NULL) || matches("topic", NULL, NULL));
	assert_false(matches(NULL, "order.pai", NULL) || matches(NULL, "order.paid2", NULL) || matches(NULL, "orders.*", NULL) || matches(NULL, "order.paid.*", NULL));
	assert_false(matches(NULL, NULL, "k") || matches(NULL, NULL, "k\"1\n2"));
	assert_null(filter_list("", 10, &count));
	assert_null(filter_list("a,", 10, &count));
	assert_null(filter_list(",a", 10, &count));
	assert_null(filter_list("a,,b", 10, &count));
	assert_null(filter_list("abcdefghijk", 10, &count));
	for (int i = 0; i < FILTER_MAX_ITEMS - 1; i++)
		strcat(many, ",x");
	free(filter_list(many, 10, &count));
	assert_int_equal(count, FILTER_MAX_ITEMS);
	strcat(many, ",x");
	assert_null(filter_list(many, 10, &count));
}

static void
tickets_are_good_once(void **state)
{
	Ticket	   *tickets = calloc(TICKETS, sizeof(*tickets));
	char		text[TICKET_TEXT];
	char		other[TICKET_TEXT];
	char		wrong[TICKET_TEXT];
	char		token[TICKET_MAX_TOKEN];
	char		organization[37];
	char	   *too_long = malloc(TICKET_MAX_TOKEN + 1);

	(void) state;
	assert_int_equal(ticket_issue(tickets, 0, "the token", "", 1000, text), TICKET_GOOD);
	assert_int_equal(ticket_issue(tickets, 0, "another", "01a1fd86-ac37-7064-aa72-317f88726f05", 1000, other), TICKET_GOOD);
	memcpy(wrong, text, sizeof(wrong));
	wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == '0' ? '1' : '0';
	assert_false(ticket_take(tickets, 0, wrong, 1001, token, organization));
	assert_false(ticket_take(tickets, 0, "", 1001, token, organization));
	assert_false(ticket_take(tickets, 0, "ffff", 1001, token, organization));
	assert_true(ticket_take(tickets, 0, text, 1001, token, organization));
	assert_string_equal(token, "the token");
	assert_string_equal(organization, "");
	assert_false(ticket_take(tickets, 0, text, 1001, token, organization));
	assert_false(ticket_take(tickets, 0, other, 1000 + TICKET_LIFETIME_S * INT64_C(1000000), token, organization));
	assert_true(ticket_take(tickets, 0, other, 1002, token, organization));
	assert_string_equal(organization, "01a1fd86-ac37-7064-aa72-317f88726f05");
	memset(too_long, 'x', TICKET_MAX_TOKEN);
	too_long[TICKET_MAX_TOKEN] = '\0';
	assert_int_equal(ticket_issue(tickets, 0, too_long, "", 1000, text), TICKET_TOO_LONG);
	/* Full: those that nobody used in time make room. */
	for (int i = 0; i < TICKETS * 8; i++)
		ticket_issue(tickets, 0, "x", "", 2000, text);
	assert_int_equal(ticket_issue(tickets, 0, "x", "", 2000, text), TICKET_NONE_FREE);
	assert_int_equal(ticket_issue(tickets, 0, "x", "", 2000 + TICKET_LIFETIME_S * INT64_C(1000000), text), TICKET_GOOD);
	free(too_long);
	free(tickets);
}

/* A process that is killed while it writes one takes its place with it, until the parent has it back. */
static void
tickets_of_a_killed_process(void **state)
{
	Ticket	   *tickets = mmap(NULL, TICKETS * sizeof(*tickets), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char		text[TICKET_TEXT];
	int			issued = 0;

	(void) state;
	assert_ptr_not_equal(tickets, MAP_FAILED);
	for (int i = 0; i < 20; i++)
	{
		pid_t		pid = fork();

		while (pid == 0)
			ticket_issue(tickets, 7, "x", "", 1000, text);
		usleep(2000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		tickets_release(tickets, 7);
	}
	for (int i = 0; i < TICKETS * 8; i++)
		issued += ticket_issue(tickets, 0, "x", "", 1000 + TICKET_LIFETIME_S * INT64_C(1000000), text) == TICKET_GOOD;
	assert_int_equal(issued, TICKETS);
	/* Those that are whole stay. */
	tickets_release(tickets, 0);
	assert_int_equal(ticket_issue(tickets, 0, "x", "", 1001 + TICKET_LIFETIME_S * INT64_C(1000000), text), TICKET_NONE_FREE);
	munmap(tickets, TICKETS * sizeof(*tickets));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_read),
		cmocka_unit_test(frames_are_refused),
		cmocka_unit_test(text_is_checked),
		cmocka_unit_test(fragments_are_joined),
		cmocka_unit_test(handshakes_are_answered),
		cmocka_unit_test(events_are_formatted),
		cmocka_unit_test(notices_are_formatted),
		cmocka_unit_test(positions_are_parsed),
		cmocka_unit_test(positions_are_sealed),
		cmocka_unit_test(filters_choose),
		cmocka_unit_test(tickets_are_good_once),
		cmocka_unit_test(tickets_of_a_killed_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
