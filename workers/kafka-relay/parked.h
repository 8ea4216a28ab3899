/*
 * Events set aside: writing them down, holding their keys back, and sending
 * them when retry_parked() has given them free.
 */
#ifndef BACKOFFICE_RELAY_PARKED_H
#define BACKOFFICE_RELAY_PARKED_H

#include "kafka-relay/relay.h"

extern void parked_init(Relay *relay);

/* A parked event of the shard was sent again and is not settled yet. */
extern bool parked_on_its_way(const Relay *relay, int shard);

/* Sends what is to be told about parked events; false: nothing. The control connection is idle. */
extern bool parked_send(Relay *relay);

/* The report about the parked event that was sent again. */
extern void parked_answered(Relay *relay, rd_kafka_resp_err_t err);

/* A rewind: what was not written down yet will be met again. */
extern void parked_forget(Relay *relay);

#endif
