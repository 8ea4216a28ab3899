/* oidc: addresses, discovery documents, key sets, Cache-Control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/address.h"
#include "oidc/document.h"

#define N256 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"		/* 43 characters: 32 bytes */

static char rsa_n[343];			/* 256 bytes */

static bool
reach(const AddressRules *rules, const char *text)
{
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return address_allowed(rules, (const struct sockaddr *) &four);
	assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return address_allowed(rules, (const struct sockaddr *) &six);
}

static void
addresses_of_the_internet_only(void **state)
{
	static const char *const public[] = {"8.8.8.8", "1.1.1.1", "172.32.0.1", "172.15.255.255", "100.128.0.0", "193.0.0.1",
	"223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"};
	static const char *const refused[] = {"0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
		"127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1",
		"198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
	"2001::1", "2002:7f00:1::", "3fff::1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "fec0::1", "100::1", "4000::1"};
	AddressRules rules = {.loopback = false};

	(void) state;
	for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++)
		if (!reach(&rules, public[i]))
			fail_msg("%s is refused", public[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (reach(&rules, refused[i]))
			fail_msg("%s is allowed", refused[i]);
	rules.loopback = true;
	assert_true(reach(&rules, "127.0.0.1") && reach(&rules, "::1") && reach(&rules, "::ffff:127.0.0.1"));
	assert_false(reach(&rules, "10.0.0.1"));
	assert_false(reach(&rules, "169.254.169.254"));
	assert_false(reach(&rules, "::127.0.0.1"));
}

static void
addresses_that_the_setting_allows(void **state)
{
	AddressRules rules = {.loopback = false};
	struct sockaddr other = {.sa_family = AF_UNIX};

	(void) state;
	assert_true(address_networks_parse("10.1.0.0/16,fd00::/9,192.168.7.9/32", &rules));
	assert_int_equal(rules.allowed_count, 3);
	assert_true(reach(&rules, "10.1.2.3") && reach(&rules, "::ffff:10.1.2.3") && reach(&rules, "fd7f::1") && reach(&rules, "192.168.7.9"));
	assert_false(reach(&rules, "10.2.0.1") || reach(&rules, "fd80::1") || reach(&rules, "192.168.7.8") || reach(&rules, "127.0.0.1"));
	assert_false(address_allowed(&rules, &other));
	assert_true(address_networks_parse("", &rules));
	assert_int_equal(rules.allowed_count, 0);
	assert_true(address_networks_parse("0.0.0.0/0", &rules) && reach(&rules, "10.2.0.1") && !reach(&rules, "fd00::1"));
	assert_true(address_networks_parse("::/0", &rules) && reach(&rules, "10.2.0.1") && reach(&rules, "fd00::1"));
	for (const char *const *wrong = (const char *const[]) {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8,", ",", "x/8", "10.0.0.0/-1",
			"fd00::/129", "10.0.0.0/8 ", "1.2.3.4/8;", NULL}; *wrong != NULL; wrong++)
		if (address_networks_parse(*wrong, &rules))
			fail_msg("\"%s\" is taken", *wrong);
}

static void
urls(void **state)
{
	static const char *const good[] = {"https://id.example.com", "https://id.example.com:8443/realms/shop", "https://10.0.0.1/x", "https://[2a00::1]/x",
	"https://id.example.com/x?y=z"};
	static const char *const loopback[] = {"http://127.0.0.1:8080/realms/shop", "http://localhost/x", "http://[::1]:1/x", "http://127.1.2.3/x"};
	static const char *const wrong[] = {"", "x", "http://id.example.com", "ftp://id.example.com/x", "file:///etc/passwd", "https://a:b@id.example.com/",
	"https://id.example.com/#x", "https://", "gopher://127.0.0.1/", "http://127.0.0.1.example.com/x", "http://localhost.example.com/x", "https://id.example.com/ x",
	"http://10.0.0.1/x", "Https://id.example.com/x", " https://id.example.com/", "https:/id.example.com", "https://user@id.example.com/"};
	AddressRules strict = {.loopback = false};
	AddressRules lax = {.loopback = true};
	const char *why;

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!address_url_good(&strict, good[i], &why) || !address_url_good(&lax, good[i], &why))
			fail_msg("%s: %s", good[i], why);
	for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++)
	{
		assert_false(address_url_good(&strict, loopback[i], &why));
		if (!address_url_good(&lax, loopback[i], &why))
			fail_msg("%s: %s", loopback[i], why);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (address_url_good(&lax, wrong[i], &why))
			fail_msg("%s is taken", wrong[i]);
}

static void
discovery_addresses(void **state)
{
	char	   *plain = discovery_url("https://id.example.com/realms/shop");
	char	   *slash = discovery_url("https://tenant.example.com/");

	(void) state;
	assert_string_equal(plain, "https://id.example.com/realms/shop/.well-known/openid-configuration");
	assert_string_equal(slash, "https://tenant.example.com/.well-known/openid-configuration");
	free(plain);
	free(slash);
}

static bool
discover(const char *issuer, const char *body, Discovery *out, const char **why)
{
	static const AddressRules rules = {.loopback = false};

	return discovery_read(&rules, issuer, body, strlen(body), out, why);
}

static void
discovery_documents(void **state)
{
	static const char good[] = "{\"issuer\": \"https://id.example.com/a\", \"jwks_uri\": \"https://keys.example.com/a?b\","
		"\"token_endpoint\": \"https://id.example.com/token\", \"authorization_endpoint\": \"urn:kubernetes:x\","
		"\"end_session_endpoint\": \"http://id.example.com/logout\", \"id_token_signing_alg_values_supported\": [\"RS256\"], \"other\": {\"a\": [1]}}";
	Discovery	found;
	const char *why = NULL;

	(void) state;
	assert_true(discover("https://id.example.com/a", good, &found, &why));
	assert_string_equal(found.jwks_uri, "https://keys.example.com/a?b");
	/* What is not https is not passed on; nor is what nobody asked for. */
	assert_string_equal(found.metadata, "{\"id_token_signing_alg_values_supported\":[\"RS256\"],\"jwks_uri\":\"https://keys.example.com/a?b\","
						"\"token_endpoint\":\"https://id.example.com/token\"}");
	discovery_free(&found);
	assert_true(discover("https://i", "{\"issuer\": \"https://i\", \"jwks_uri\": \"https://k/\", \"code_challenge_methods_supported\": [\"S256\", 7,"
						 " \"a name that is much too long to be one\", null]}", &found, &why));
	assert_string_equal(found.metadata, "{\"code_challenge_methods_supported\":[\"S256\"],\"jwks_uri\":\"https://k/\"}");
	discovery_free(&found);
	/* Another issuer, however similar. */
	for (const char *const *other = (const char *const[]) {"https://id.example.com/a/", "https://id.example.com", "https://ID.example.com/a",
			"https://id.example.com/b", "https://id.example.com:443/a", "", NULL}; *other != NULL; other++)
	{
		assert_false(discover(*other, good, &found, &why));
		assert_string_equal(why, "the discovery document is of another issuer");
	}
}

static void
discovery_documents_refused(void **state)
{
	static const char *const wrong[] = {"", "null", "[]", "{}", "{\"issuer\": 1, \"jwks_uri\": \"https://k/\"}", "{\"issuer\": \"https://i\"}",
		"{\"issuer\": \"https://i\", \"jwks_uri\": 1}", "{\"issuer\": \"https://i\", \"jwks_uri\": \"http://k/\"}",
		"{\"issuer\": \"https://i\", \"jwks_uri\": \"http://127.0.0.1/\"}", "{\"issuer\": \"https://i\", \"jwks_uri\": \"file:///etc/passwd\"}",
		"{\"issuer\": \"https://i\", \"issuer\": \"https://i\", \"jwks_uri\": \"https://k/\"}", "{\"issuer\": \"https://i\\u0000\", \"jwks_uri\": \"https://k/\"}",
	"{\"issuer\": \"https://i\", \"jwks_uri\": \"https://k/\"} x", "<html>"};
	Discovery	found;
	const char *why = NULL;

	(void) state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		if (discover("https://i", wrong[i], &found, &why))
			fail_msg("taken: %s", wrong[i]);
		assert_non_null(why);
		assert_null(found.jwks_uri);
	}
}

static Keys
read_keys(const char *format, ...)
{
	char		body[8192];
	va_list		args;
	Keys		keys;
	const char *why = NULL;

	va_start(args, format);
	vsnprintf(body, sizeof(body), format, args);
	va_end(args);
	if (!keys_read(body, strlen(body), &keys, &why))
	{
		assert_non_null(why);
		assert_null(keys.jwks);
	}
	return keys;
}

static void
key_sets(void **state)
{
	Keys		keys = read_keys("{\"keys\": ["
								 "{\"kty\": \"RSA\", \"kid\": \"z\", \"alg\": \"RS256\", \"use\": \"sig\", \"n\": \"%s\", \"e\": \"AQAB\", \"x5c\": [\"AA\"], \"x5u\": \"http://evil/\"},"
								 "{\"kty\": \"RSA\", \"kid\": \"enc\", \"alg\": \"RSA-OAEP\", \"use\": \"enc\", \"n\": \"%s\", \"e\": \"AQAB\"},"
								 "{\"kty\": \"EC\", \"kid\": \"a\", \"crv\": \"P-256\", \"x\": \"" N256 "\", \"y\": \"" N256 "\"},"
								 "{\"kty\": \"OKP\", \"kid\": \"o\", \"alg\": \"Ed25519\", \"crv\": \"Ed25519\", \"x\": \"" N256 "\", \"key_ops\": [\"verify\"]},"
								 "{\"kty\": \"RSA\", \"kid\": \"z\", \"n\": \"%s\", \"e\": \"AQAC\"}"
								 "]}", rsa_n, rsa_n, rsa_n);
	json_t	   *parsed;
	json_t	   *list;

	(void) state;
	assert_int_equal(keys.kept, 3);
	assert_int_equal(keys.dropped, 2);
	assert_false(keys.private_seen);
	parsed = json_loads(keys.jwks, 0, NULL);
	list = json_object_get(parsed, "keys");
	assert_int_equal(json_array_size(list), 3);
	/* By name; the first of a name; with the one algorithm that the curve has; without certificates and links. */
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "alg")), "ES256");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "alg")), "EdDSA");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 2), "e")), "AQAB");
	assert_null(json_object_get(json_array_get(list, 2), "x5u"));
	assert_int_equal(json_object_size(json_array_get(list, 2)), 6);
	json_decref(parsed);
	keys_free(&keys);
}

static void
keys_not_for_us(void **state)
{
	static const char *const members[] = {
		"\"kty\": \"oct\", \"kid\": \"s\", \"k\": \"" N256 "\"",
		"\"kty\": \"RSA\", \"kid\": \"\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": 7, \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"n\": \"AQAB\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"n\": \"N\", \"e\": \"AQABAQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"n\": \"N\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"n\": \"N=\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"n\": \"N+\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"alg\": \"HS256\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"alg\": \"none\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"alg\": \"ES256\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"use\": 1, \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"key_ops\": [\"encrypt\"], \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"RSA\", \"kid\": \"r\", \"key_ops\": \"verify\", \"n\": \"N\", \"e\": \"AQAB\"",
		"\"kty\": \"EC\", \"kid\": \"e\", \"crv\": \"P-256\", \"x\": \"" N256 "\"",
		"\"kty\": \"EC\", \"kid\": \"e\", \"crv\": \"P-384\", \"x\": \"" N256 "\", \"y\": \"" N256 "\"",
		"\"kty\": \"EC\", \"kid\": \"e\", \"crv\": \"secp256k1\", \"x\": \"" N256 "\", \"y\": \"" N256 "\"",
		"\"kty\": \"EC\", \"kid\": \"e\", \"alg\": \"ES384\", \"crv\": \"P-256\", \"x\": \"" N256 "\", \"y\": \"" N256 "\"",
		"\"kty\": \"OKP\", \"kid\": \"o\", \"crv\": \"X25519\", \"x\": \"" N256 "\"",
		"\"kty\": \"OKP\", \"kid\": \"o\", \"crv\": \"Ed25519\", \"x\": \"AQAB\"",
		"\"kty\": \"AKP\", \"kid\": \"p\", \"alg\": \"ML-DSA-44\", \"pub\": \"AQAB\"",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
	{
		char		member[1024];
		const char *n = strstr(members[i], "\"N");
		Keys		keys;

		if (n != NULL)
			snprintf(member, sizeof(member), "%.*s%s%s", (int) (n + 1 - members[i]), members[i], rsa_n, n + 2);
		else
			snprintf(member, sizeof(member), "%s", members[i]);
		keys = read_keys("{\"keys\": [{%s}, {\"kty\": \"OKP\", \"kid\": \"good\", \"crv\": \"Ed25519\", \"x\": \"" N256 "\"}]}", member);
		if (keys.kept != 1 || keys.dropped != 1)
			fail_msg("%s: %d kept", members[i], keys.kept);
		keys_free(&keys);
	}
}

static void
private_keys_are_seen(void **state)
{
	Keys		keys = read_keys("{\"keys\": [{\"kty\": \"OKP\", \"kid\": \"o\", \"crv\": \"Ed25519\", \"x\": \"" N256 "\", \"d\": \"" N256 "\"},"
								 "{\"kty\": \"OKP\", \"kid\": \"p\", \"crv\": \"Ed25519\", \"x\": \"" N256 "\"}]}");

	(void) state;
	assert_true(keys.private_seen);
	assert_int_equal(keys.kept, 1);
	assert_null(strstr(keys.jwks, "\"d\""));
	keys_free(&keys);
}

static void
key_sets_refused(void **state)
{
	static const char *const wrong[] = {"", "{}", "[]", "{\"keys\": {}}", "{\"keys\": []}", "{\"keys\": [1, null, \"x\", []]}",
	"{\"keys\": [{\"kty\": \"oct\", \"kid\": \"s\", \"k\": \"AQAB\"}]}", "{\"keys\": [{}], \"keys\": []}"};
	char	   *many = malloc(DOCUMENT_MAX_BYTES + 2);
	const char *why = NULL;
	size_t		len;
	Keys		keys;

	(void) state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		keys = read_keys("%s", wrong[i]);
		assert_null(keys.jwks);
	}
	assert_non_null(many);
	len = (size_t) sprintf(many, "{\"keys\": [{}");
	for (int i = 0; i < DOCUMENT_MAX_KEYS; i++)
		len += (size_t) sprintf(many + len, ",{}");
	sprintf(many + len, "]}");
	assert_false(keys_read(many, strlen(many), &keys, &why));
	assert_string_equal(why, "the key set has too many keys");
	memset(many, ' ', DOCUMENT_MAX_BYTES + 1);
	assert_false(keys_read(many, DOCUMENT_MAX_BYTES + 1, &keys, &why));
	assert_string_equal(why, "the key set is too large");
	free(many);
}

static void
max_age(void **state)
{
	(void) state;
	assert_int_equal(document_max_age(NULL, NULL, 300, 60, 86400), 300);
	assert_int_equal(document_max_age("no-cache", NULL, 300, 60, 86400), 300);
	assert_int_equal(document_max_age("public, max-age=19845, must-revalidate, no-transform", NULL, 300, 60, 86400), 19845);
	assert_int_equal(document_max_age("max-age=3600", "600", 300, 60, 86400), 3000);
	assert_int_equal(document_max_age("max-age=3600", "7200", 300, 60, 86400), 3600);
	assert_int_equal(document_max_age("MAX-AGE=5", NULL, 300, 60, 86400), 60);
	assert_int_equal(document_max_age("max-age=0", NULL, 300, 60, 86400), 60);
	assert_int_equal(document_max_age("max-age=99999999999999999999999", NULL, 300, 60, 86400), 86400);
	assert_int_equal(document_max_age("max-age=", NULL, 300, 60, 86400), 300);
	assert_int_equal(document_max_age("max-age=-1", "-5", 300, 60, 86400), 300);
	assert_int_equal(document_max_age("s-maxage=9,, ,max-age=100", "x", 300, 60, 86400), 100);
	assert_int_equal(document_max_age("", "", 300, 60, 86400), 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_the_internet_only),
		cmocka_unit_test(addresses_that_the_setting_allows),
		cmocka_unit_test(urls),
		cmocka_unit_test(discovery_addresses),
		cmocka_unit_test(discovery_documents),
		cmocka_unit_test(discovery_documents_refused),
		cmocka_unit_test(key_sets),
		cmocka_unit_test(keys_not_for_us),
		cmocka_unit_test(private_keys_are_seen),
		cmocka_unit_test(key_sets_refused),
		cmocka_unit_test(max_age),
	};

	memset(rsa_n, 'A', sizeof(rsa_n) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
