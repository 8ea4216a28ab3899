/* libFuzzer: the packed batch of events.fetch(), and what a Kafka message becomes. make fuzz SECONDS=60 */
#include <stdint.h>
#include <stdlib.h>

#include "kafka-ingest/step.h"
#include "kafka-relay/fetched.h"
#include "kafka-relay/headers.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const IngestRules rules = {"kafka", "01a1fd86-ac37-7064-aa72-317f88726f05", 100000};
	Inbound		inbound = {.topic = "T", .key = data, .key_len = size / 2, .value = data, .value_len = size};
	FetchedBatch batch = {.has_next = false};
	const char *why = NULL;
	const Event *event;
	Item		item;

	if (fetched_open(&batch, data, size, 8, &why))
		while ((event = fetched_peek(&batch, &why)) != NULL)
		{
			rd_kafka_headers_t *headers = headers_make(event, "/source");

			if (headers != NULL)
				rd_kafka_headers_destroy(headers);
			fetched_take(&batch);
		}
	if (ingest_judge(&rules, &inbound, &item) && !item.park && item.payload == NULL)
		abort();
	ingest_free(&item);
	return 0;
}
