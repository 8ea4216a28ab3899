/* gateway: HTTP in front of the database's functions. Settings and start. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/cors.h"
#include "gateway/limits.h"
#include "gateway/openapi.h"
#include "gateway/pool.h"
#include "gateway/process.h"
#include "gateway/proxies.h"
#include "gateway/rpc_serve.h"
#include "gateway/tls.h"
#include "lib/conf.h"
#include "lib/log.h"
#include "lib/worker.h"

#define DEFAULT_LIMITS "auth:address=20/200,any:address=2000/4000,read:principal=1000/2000,write:principal=500/1000,rpc:principal=1000/2000"

static Gateway gateway;

#define S(field) &gateway.settings.field

static const ConfItem items[] = {
	{"database", CONF_TEXT, S(database), NULL, 1, 0, NULL,
	"libpq connection string of the database; its role is a member of backoffice_gateway. Use the Unix socket where you can. Put the password into ~/.pgpass or a service file."},
	{"databases-file", CONF_TEXT, S(databases_file), "", 0, 0, NULL,
	"file of organizations that live elsewhere, a line each: the organization's UUID, a space, its connection string"},
	{"address", CONF_TEXT, S(address), "127.0.0.1", 1, 0, NULL, "address to listen on"},
	{"port", CONF_INT, S(port), "8080", 0, 65535, NULL, "port to listen on; 0: any free one (logged)"},
	{"processes", CONF_INT, S(processes), "1", 1, GATEWAY_MAX_PROCESSES, NULL, "processes that share the port"},
	{"instance", CONF_TEXT, S(instance), "", 0, 0, NULL, "name of this copy; default: host and process id"},
	{"log-level", CONF_TEXT, S(log_level), "info", 1, 0, NULL, "debug, info, warn or error"},
	{"access-log", CONF_BOOL, S(access_log), "on", 0, 0, NULL, "a line for each request"},
	{"pool", CONF_INT, S(pool), "8", 1, 500, "connections", "to each database, per process"},
	{"depth", CONF_INT, S(depth), "4", 1, 16, "calls", "on one connection at a time; 1: no stacking"},
	{"fast-us", CONF_INT, S(fast_us), "3000", 0, 1000000, "us", "a statement that takes longer on average is slow: nothing is stacked behind it"},
	{"queue", CONF_INT, S(queue), "1000", 0, 1000000, "calls", "waiting for a connection, per process and database; more are answered 503"},
	{"queue-ms", CONF_INT, S(queue_ms), "2000", 1, 600000, "ms", "a call waits at most; then it is answered 503"},
	{"request-ms", CONF_INT, S(request_ms), "15000", 10, 3600000, "ms", "statement_timeout of a call"},
	{"max-body", CONF_INT, S(max_body), "1048576", 0, 268435456, "bytes", "largest body of a request"},
	{"max-json-depth", CONF_INT, S(max_json_depth), "32", 1, 1000, "levels", "deepest nesting of JSON in a request"},
	{"max-answer", CONF_INT, S(max_answer), "16777216", 1024, 268435456, "bytes", "largest answer of a function; what is more is refused, and rolled back"},
	{"answer-memory", CONF_INT, S(answer_memory), "268435456", 1048576, 1099511627776, "bytes",
	"of answers that wait for their clients, per process; while there is more, calls are answered 503, and who takes too long is disconnected"},
	{"header-ms", CONF_INT, S(header_ms), "10000", 100, 600000, "ms", "a head must be complete within; also the grace of a body before its rate counts"},
	{"idle-ms", CONF_INT, S(idle_ms), "60000", 1000, 3600000, "ms", "an idle connection is closed after"},
	{"min-body-rate", CONF_INT, S(min_body_rate), "500", 0, 1000000000, "bytes/s", "slower bodies end their connection"},
	{"connections", CONF_INT, S(connections), "12000", 1, 1000000, "connections", "of clients, per process"},
	{"connections-per-address", CONF_INT, S(connections_per_address), "0", 0, 1000000, "connections",
	"of one client address, per process; 0: no limit (behind a proxy all come from one)"},
	{"stuck-ms", CONF_INT, S(stuck_ms), "30000", 1000, 3600000, "ms", "a process whose loop stands still for so long is killed and started again"},
	{"drain-ms", CONF_INT, S(drain_ms), "10000", 0, 600000, "ms", "at the end: how long to wait for requests under way"},
	{"schemas", CONF_LIST, S(schemas), "api", 1, 0, NULL, "schemas of /rpc, separated by commas; the first is the default"},
	{"pre-request", CONF_TEXT, S(pre_request), "", 0, 0, NULL, "function called before each call of /rpc (PostgREST's db-pre-request); not needed with backoffice's own functions"},
	{"rpc-max-rows", CONF_INT, S(rpc_max_rows), "0", 0, 1000000000, "rows", "an answer of /rpc has at most (PostgREST's db-max-rows); 0: no limit"},
	{"rpc-tx-override", CONF_BOOL, S(rpc_tx_override), "off", 0, 0, NULL, "Prefer: tx=rollback makes /rpc roll back (PostgREST's db-tx-end=commit-allow-override)"},
	{"rpc-aggregates", CONF_BOOL, S(rpc_aggregates), "off", 0, 0, NULL, "sum(), count() and the like in select of /rpc (PostgREST's db-aggregates-enabled)"},
	{"limits", CONF_LIST, S(limits), DEFAULT_LIMITS, 0, 0, NULL,
	"rate limits: class:subject=per_second/burst, separated by commas; empty: none. Classes any, auth, read, write, rpc, stream; subjects address, principal"},
	{"allow-origins", CONF_LIST, S(allow_origins), "", 0, 0, NULL, "origins of browsers' pages that may call (CORS), separated by commas, or *; empty: none"},
	{"trusted-proxies", CONF_LIST, S(trusted_proxies), "", 0, 0, NULL, "addresses of proxies whose X-Forwarded-For is believed, separated by commas"},
	{"metrics-open", CONF_BOOL, S(metrics_open), "off", 0, 0, NULL, "show /metrics to everybody, not to this machine only"},
	{"tls-certificate", CONF_TEXT, S(tls_certificate), "", 0, 0, NULL, "PEM file of the certificate and its chain; with tls-key: HTTPS"},
	{"tls-key", CONF_TEXT, S(tls_key), "", 0, 0, NULL, "PEM file of its private key"},
	{"heartbeat-ms", CONF_INT, S(heartbeat_ms), "5000", 100, 60000, "ms", "how often backoffice.workers hears of us, and we of the database"},
	{"listeners", CONF_INT, S(listeners), "20000", 0, 1000000, "streams", "of events (SSE and WebSocket) at a time, per process"},
	{"listeners-per-principal", CONF_INT, S(listeners_per_principal), "100", 1, 1000000, "streams", "of one principal, per process"},
	{"listener-buffer", CONF_INT, S(listener_buffer), "1048576", 65536, 67108864, "bytes", "may wait for a client; what is more is read from the log again when it has taken them"},
	{"events-ping-ms", CONF_INT, S(events_ping_ms), "15000", 100, 600000, "ms", "between two signs of life on a stream"},
	{"events-check-ms", CONF_INT, S(events_check_ms), "10000", 100, 600000, "ms", "between two checks of a stream's rights"},
	{"events-retry-ms", CONF_INT, S(events_retry_ms), "3000", 0, 600000, "ms", "after which a client that was closed comes again (and up to twice that)"},
	{"public-url", CONF_TEXT, S(public_url), "", 0, 0, NULL, "this server as browsers see it (https://api.example.com): for the redirects of OIDC log-ins"},
	{"oidc-allow-networks", CONF_TEXT, S(oidc_allow_networks), "", 0, 0, "network/bits[,network/bits...]",
	"networks in which OIDC providers may be reached although they are not of the Internet: 10.1.0.0/16,fd00::/8"},
	{"oidc-ca-file", CONF_TEXT, S(oidc_ca_file), "", 0, 0, NULL, "PEM file of certificates to trust at OIDC providers instead of the system's"},
	{"oidc-insecure", CONF_BOOL, S(oidc_insecure), "off", 0, 0, NULL, "let OIDC providers on this machine be reached without TLS (for tests)"},
};

static const ConfProgram program = {
	.name = "gateway",
	.purpose = "serves the functions of backoffice over HTTP",
	.examples =
	"  gateway --database 'service=backoffice' --port 8080\n"
	"  BACKOFFICE_DATABASE='host=/run/postgresql dbname=shop user=web' gateway --processes 2 --allow-origins https://shop.example\n"
	"  gateway --database 'service=backoffice' --tls-certificate /etc/ssl/shop.pem --tls-key /etc/ssl/private/shop.key --address 0.0.0.0 --port 443\n"
	"  gateway --routes                         (prints the table of routes)\n"
	"  gateway --database 'service=backoffice' --check\n",
	.items = items,
	.item_count = sizeof(items) / sizeof(items[0])
};

static bool
address_good(const char *address)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1)
		return true;
	fprintf(stderr, "address: \"%s\" is not an IP address\n", address);
	return false;
}

/* scheme://host[:port], to which paths are appended. */
static bool
public_url_good(const char *url)
{
	size_t		scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;

	if (*url == '\0' || (scheme > 0 && url[scheme] != '\0' && strpbrk(url + scheme, "/?#@ \t\"") == NULL))
		return true;
	fprintf(stderr, "public-url: \"%s\" is not scheme://host[:port]\n", url);
	return false;
}

static bool
oidc_good(const Settings *settings)
{
	gateway.oidc_rules.loopback = settings->oidc_insecure;
	if (!address_networks_parse(settings->oidc_allow_networks, &gateway.oidc_rules))
	{
		fprintf(stderr, "oidc-allow-networks: \"%s\" is not network/bits[,network/bits...], at most %d\n",
				settings->oidc_allow_networks, ADDRESS_MAX_NETWORKS);
		return false;
	}
	if (*settings->oidc_ca_file != '\0' && access(settings->oidc_ca_file, R_OK) != 0)
	{
		fprintf(stderr, "oidc-ca-file: \"%s\" cannot be read\n", settings->oidc_ca_file);
		return false;
	}
	return true;
}

static bool
settings_good(void)
{
	Settings   *settings = &gateway.settings;
	LogLevel	level;
	Tls			tls;
	bool		good = worker_check(settings->database, settings->log_level, stderr);

	good = address_good(settings->address) && good;
	good = cors_check(settings->allow_origins, stderr) && good;
	good = public_url_good(settings->public_url) && good;
	good = oidc_good(settings) && good;
	good = proxies_check(settings->trusted_proxies, stderr) && good;
	good = limits_parse(settings->limits, stderr) && good;
	good = pools_check(settings->databases_file, stderr) && good;
	good = rpc_service_check(settings, stderr) && good;
	if (tls_load(&tls, settings->tls_certificate, settings->tls_key, stderr))
		tls_free(&tls);
	else
		good = false;
	if (good && log_level_parse(settings->log_level, &level))
		log_init("gateway", settings->instance, level);
	return good;
}

static int
print_routes(void)
{
	char	   *text = openapi_markdown();

	if (text == NULL)
		return 1;
	fputs(text, stdout);
	free(text);
	return 0;
}

int
main(int argc, char **argv)
{
	int			exit_code;

	if (argc == 2 && strcmp(argv[1], "--routes") == 0)
		return print_routes();
	if (!worker_settings(&program, argc, argv, &gateway.settings.instance, settings_good, &exit_code))
		return exit_code;
	return process_parent(&gateway);
}
