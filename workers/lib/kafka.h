/* What every Kafka worker sets on librdkafka, and how it is joined to the loop. */
#ifndef BACKOFFICE_KAFKA_H
#define BACKOFFICE_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>

#include "lib/loop.h"

/*
 * A configuration with bootstrap servers, client id, logging and, when file is
 * not empty, the properties of that file (name=value lines, # comments; the
 * place for TLS and SASL). Refused properties are told in error. NULL: wrong.
 */
extern rd_kafka_conf_t *kafka_conf(const char *bootstrap, const char *client_id, const char *file,
								   char *error, size_t error_size);

/*
 * Whether a client could be made of it: the files that it names can be read, properties go together. Connects to
 * nothing. Says in the log what is unsafe, or known not to work. Takes conf.
 */
extern bool kafka_check(rd_kafka_conf_t *conf, rd_kafka_type_t type, const char *file, char *error, size_t error_size);

/*
 * An error that is no message's own: why a broker can't be reached, mostly. librdkafka tells it at every attempt; the
 * log is told once a minute of each kind, until kafka_reachable(true). false: it says less than what was told before.
 */
extern bool kafka_trouble(rd_kafka_resp_err_t err, const char *reason);
extern void kafka_reachable(bool up);

/* Sets one property; aborts when librdkafka refuses, as the value is ours. */
extern void kafka_set(rd_kafka_conf_t *conf, const char *name, const char *value);
extern void kafka_set_int(rd_kafka_conf_t *conf, const char *name, int64_t value);

/* An eventfd that is readable when the queue may have something. -1: no descriptor. */
extern int	kafka_queue_fd(rd_kafka_queue_t *queue);
extern void kafka_drain_fd(int fd);

/* The text of librdkafka's broker state for the log and the database: never with secrets. */
extern bool kafka_bootstrap_good(const char *bootstrap);

/* The same, with a complaint to err. */
extern bool kafka_bootstrap_check(const char *bootstrap, FILE *err);

#endif
