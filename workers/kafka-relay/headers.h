/* CloudEvents 1.0 headers of a record (Kafka binary mode). */
#ifndef BACKOFFICE_RELAY_HEADERS_H
#define BACKOFFICE_RELAY_HEADERS_H

#include <librdkafka/rdkafka.h>

#include "lib/event.h"

/* NULL: out of memory. source: the URI of ce_source. */
extern rd_kafka_headers_t *headers_make(const Event *event, const char *source);

#define UUID_TEXT_LEN 36
extern void uuid_format(const unsigned char *uuid, char *out);	/* 37 bytes */

/* RFC 3339 in UTC with microseconds; at least 40 bytes. Returns the length. */
extern size_t time_format(int64_t us, char *out);

#endif
