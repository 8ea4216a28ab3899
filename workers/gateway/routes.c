/* The table itself; match.c finds routes in it, call.c makes the calls. */
#include "gateway/routes.h"

#include "gateway/health.h"

const Route routes[] = {
	{METHOD_GET, "/health/live", .handler = health_live, .auth = AUTH_NONE, .rate = RATE_NONE, .status = 200, .tag = "health",
	.summary = "The process answers", .answer = "#Status"},
	{METHOD_GET, "/health/ready", .handler = health_ready, .auth = AUTH_NONE, .rate = RATE_NONE, .status = 200, .tag = "health",
	.summary = "The database answers, and nothing is being stopped", .answer = "#Readiness"},
	{METHOD_GET, "/metrics", .handler = health_metrics, .auth = AUTH_NONE, .rate = RATE_NONE, .status = 200, .tag = "health",
	.summary = "Prometheus metrics"},
};

const int	route_count = sizeof(routes) / sizeof(routes[0]);
