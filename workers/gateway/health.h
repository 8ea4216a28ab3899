/* /health/live, /health/ready, /metrics, and this process's heartbeat. */
#ifndef BACKOFFICE_GATEWAY_HEALTH_H
#define BACKOFFICE_GATEWAY_HEALTH_H

#include "gateway/request.h"

typedef struct HealthWatch HealthWatch;

extern HealthWatch *health_open(Gateway *gateway);
extern void health_drain(HealthWatch *watch);
extern void health_close(HealthWatch *watch);

extern void health_live(Request *request);
extern void health_ready(Request *request);
extern void health_metrics(Request *request);

#endif
