/*
 * Preloaded into kafka-ingest: rd_kafka_assign() of partitions returns late, as when the process loses the processor
 * right behind it. By then the first messages have been fetched, and wait in the consumer's queue.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <unistd.h>

rd_kafka_resp_err_t
rd_kafka_assign(rd_kafka_t *consumer, const rd_kafka_topic_partition_list_t *partitions)
{
	rd_kafka_resp_err_t (*assign) (rd_kafka_t *consumer, const rd_kafka_topic_partition_list_t *partitions);
	rd_kafka_resp_err_t err;

	*(void **) &assign = dlsym(RTLD_NEXT, "rd_kafka_assign");
	err = assign(consumer, partitions);
	if (partitions != NULL && partitions->cnt > 0)
		sleep(2);
	return err;
}
