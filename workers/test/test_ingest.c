/* What a Kafka message becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka-ingest/step.h"
#include "lib/utf8.h"

#define ORG "01a1fd86-ac37-7064-aa72-317f88726f05"

static const IngestRules rules = {"kafka", ORG, 1000};

static Inbound
message(const char *value)
{
	return (Inbound) {.topic = "T", .partition = 2, .offset = 30, .key = "k", .key_len = 1,
	.value = value, .value_len = value != NULL ? strlen(value) : 0};
}

static void
parks(Inbound inbound, const char *reason)
{
	Item		item;

	assert_true(ingest_judge(&rules, &inbound, &item));
	assert_true(item.park);
	if (strstr(item.reason, reason) == NULL)
		fail_msg("\"%s\" instead of \"%s\"", item.reason, reason);
	ingest_free(&item);
}

static Item
accepts(Inbound inbound)
{
	Item		item;

	assert_true(ingest_judge(&rules, &inbound, &item));
	if (item.park)
		fail_msg("parked: %s", item.reason);
	return item;
}

static void
ids(void **state)
{
	InboundHeader headers[] = {{"ce_id", "from header", 11}, {"ce_source", "/shop", 5}, {"x", "\xff", 1}, {"y", NULL, 0}};
	Inbound		inbound = message("{\"eventId\": \"e\\u00e9\"}");
	Item		item = accepts(inbound);

	(void) state;
	assert_string_equal(item.id, "e\xc3\xa9");
	assert_string_equal(item.source, "kafka:T");
	assert_string_equal(item.organization, ORG);
	assert_string_equal(item.key, "k");
	assert_null(item.headers);
	ingest_free(&item);
	inbound.headers = headers;
	inbound.header_count = 4;
	item = accepts(inbound);
	assert_string_equal(item.id, "from header");
	assert_string_equal(item.source, "kafka:T:/shop");
	assert_string_equal(item.headers, "{\"ce_id\":\"from header\",\"ce_source\":\"/shop\"}");
	ingest_free(&item);
	inbound = message("{}");
	inbound.key = NULL;
	item = accepts(inbound);
	assert_string_equal(item.id, "T/2/30");
	assert_null(item.key);
	ingest_free(&item);
	item = accepts(message("{\"n\": 123456789012345678901234567890}"));
	assert_string_equal(item.payload, "{\"n\": 123456789012345678901234567890}");
	ingest_free(&item);
}

static void
malformed(void **state)
{
	char		deep[700];
	char		big[1100];
	Inbound		inbound;
	InboundHeader header = {"ce_id", "", 0};

	(void) state;
	parks(message(NULL), "no value");
	parks(message(""), "not JSON");
	parks(message("{"), "not JSON");
	parks(message("{}x"), "not JSON");
	parks(message("[1]"), "not a JSON object");
	parks(message("\"\\ud800\""), "not JSON");
	parks(message("{\"a\": \"\\u0000\"}"), "not JSON");
	parks(message("{\"a\": \xc3\x28}"), "UTF-8");
	parks(message("{\"secret4711"), "not JSON");
	parks(message("{\"eventId\": 1}"), "eventId");
	parks(message("{\"eventId\": \"\"}"), "1 to 512");
	memset(big, 'x', sizeof(big));
	memcpy(big, "{\"eventId\": \"", 13);
	strcpy(big + 600, "\"}");
	parks(message(big), "1 to 512");
	memset(big, ' ', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	parks(message(big), "1099 bytes");
	memset(deep, '[', 300);
	memset(deep + 300, ']', 300);
	memmove(deep + 5, deep, 600);
	memcpy(deep, "{\"a\":", 5);
	strcpy(deep + 605, "}");
	parks(message(deep), "deeper than 128");
	inbound = message("{}");
	inbound.value_len = 3;
	parks(inbound, "NUL");
	inbound = message("{}");
	inbound.key = "\xff";
	parks(inbound, "key");
	inbound = message("{}");
	inbound.headers = &header;
	inbound.header_count = 1;
	header.value = "";
	parks(inbound, "ce_id");
	header = (InboundHeader) {"organization_id", "no uuid", 7};
	parks(inbound, "not a UUID");
	header = (InboundHeader) {"organization_id", "01a1fd86-ac37-7064-aa72-317f88726f06", 36};
	parks(inbound, "another organization");
}

static void
reasons_show_no_payload(void **state)
{
	Item		item;
	Inbound		inbound = message("{\"code\": secret4711}");

	(void) state;
	assert_true(ingest_judge(&rules, &inbound, &item));
	assert_true(item.park);
	assert_null(strstr(item.reason, "secret"));
	ingest_free(&item);
}

static void
faults(void **state)
{
	static const char *const message_faults[] = {"22P02", "23505", "22023", "PT422", "PT409", "PT413", "54001", "P0001"};
	static const char *const passing[] = {"40001", "40P01", "57014", "57P01", "53300", "53100", "42501", "42883", "XX000", "08006",
	"25006", "55P03", "PT503", "PT429", "PT401", "ABORT", ""};

	(void) state;
	for (size_t i = 0; i < sizeof(message_faults) / sizeof(message_faults[0]); i++)
		assert_int_equal(ingest_fault(message_faults[i]), FAULT_MESSAGE);
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		assert_int_equal(ingest_fault(passing[i]), FAULT_PASSING);
}

static void
texts(void **state)
{
	static const char *const mended[][2] = {
		{"", ""}, {"\xd0\x96", "\xd0\x96"}, {"\xd0\x96\xd0", "\xd0\x96?"}, {"\xe2\x82", "??"}, {"a\xff\xd0\x96z", "a?\xd0\x96z"},
		{"\xed\xa0\x80", "???"}, {"\xf0\x9f\x98", "???"},
	};
	char		plain[] = "a\xff\n\x7f~";

	(void) state;
	assert_true(utf8_is_text("\xf4\x8f\xbf\xbf", 4));
	assert_false(utf8_is_text("\xf4\x90\x80\x80", 4));
	assert_false(utf8_is_text("\xed\xa0\x80", 3));
	assert_false(utf8_is_text("\xe2\x82", 2));
	assert_false(utf8_is_text("a\0", 2));
	assert_true(ingest_uuid_good(ORG, 36));
	assert_false(ingest_uuid_good(ORG, 35));
	assert_false(ingest_uuid_good("01a1fd86-ac37-7064-aa72-317f88726f0g", 36));
	ingest_plain(plain);
	assert_string_equal(plain, "a???~");
	for (size_t i = 0; i < sizeof(mended) / sizeof(mended[0]); i++)
	{
		char		text[20];

		strcpy(text, mended[i][0]);
		utf8_mend(text);
		assert_string_equal(text, mended[i][1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids), cmocka_unit_test(malformed), cmocka_unit_test(reasons_show_no_payload),
		cmocka_unit_test(faults), cmocka_unit_test(texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
