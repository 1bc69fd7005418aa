/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What DPDK's rte_acl takes for a verdict. Reads from standard input the numbers of rules and flows, then rules, the first
 * that matches decides: source, its prefix length, the range of source ports, that of destination ports, and the
 * protocol, 0 for any; then flows: source, source port, destination port, protocol. Addresses are plain numbers.
 *
 * Prints nanoseconds of a verdict, asked for one by one and in bursts; milliseconds of building; and the sum of the
 * numbers of the rules that decided, counted from one, so that whoever asked can tell whether the verdicts are right. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_eal.h>

enum { PROTOCOL, SOURCE, SOURCE_PORT, DESTINATION_PORT, FIELDS };
enum { BURST = 32, ROUNDS = 40 };

struct flow {
	uint8_t protocol, unused[3];
	uint32_t source;
	uint16_t source_port, destination_port;
};

RTE_ACL_RULE_DEF(rule, FIELDS);

/* rte_acl wants one field of a byte first, then groups of four bytes. */
#define FIELD(what, kind, bytes, group, member) \
	{ .type = RTE_ACL_FIELD_TYPE_##kind, .size = bytes, .field_index = what, .input_index = group, \
	  .offset = offsetof(struct flow, member) }
static const struct rte_acl_field_def FORMAT[FIELDS] = {
	FIELD(PROTOCOL, BITMASK, 1, 0, protocol),
	FIELD(SOURCE, MASK, 4, 1, source),
	FIELD(SOURCE_PORT, RANGE, 2, 2, source_port),
	FIELD(DESTINATION_PORT, RANGE, 2, 2, destination_port),
};

static void die(const char *what)
{
	fprintf(stderr, "acl: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static unsigned number(void)
{
	unsigned n;

	if (scanf("%u", &n) != 1)
		die("a number is missing");
	return n;
}

static struct rule read_rule(int priority, uint32_t name)
{
	struct rule r = { .data = { .category_mask = 1, .priority = priority, .userdata = name } };

	r.field[SOURCE].value.u32 = number();
	r.field[SOURCE].mask_range.u32 = number();
	r.field[SOURCE_PORT].value.u16 = number();
	r.field[SOURCE_PORT].mask_range.u16 = number();
	r.field[DESTINATION_PORT].value.u16 = number();
	r.field[DESTINATION_PORT].mask_range.u16 = number();
	r.field[PROTOCOL].value.u8 = number();
	r.field[PROTOCOL].mask_range.u8 = r.field[PROTOCOL].value.u8 ? 0xff : 0;
	return r;
}

static struct rte_acl_ctx *build(unsigned rules)
{
	struct rte_acl_param param = {
		.name = "bench", .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(FIELDS), .max_rule_num = rules,
	};
	struct rte_acl_config config = { .num_categories = 1, .num_fields = FIELDS };
	struct rte_acl_ctx *acl = rte_acl_create(&param);

	if (!acl)
		die("no context");
	for (unsigned n = 0; n < rules; n++) {
		struct rule r = read_rule(rules - n, n + 1);

		if (rte_acl_add_rules(acl, (const struct rte_acl_rule *)&r, 1))
			die("a rule is refused");
	}
	memcpy(config.defs, FORMAT, sizeof(FORMAT));
	if (rte_acl_build(acl, &config))
		die("the rules do not build");
	return acl;
}

static const uint8_t **read_flows(unsigned flows)
{
	struct flow *all = calloc(flows, sizeof(*all));
	const uint8_t **data = calloc(flows, sizeof(*data));

	if (!all || !data)
		die("no memory");
	for (unsigned n = 0; n < flows; n++) {
		all[n].source = htonl(number());
		all[n].source_port = htons(number());
		all[n].destination_port = htons(number());
		all[n].protocol = number();
		data[n] = (const uint8_t *)&all[n];
	}
	return data;
}

/* The least that a verdict took in a round over all flows. */
static double lowest(const struct rte_acl_ctx *acl, const uint8_t **data, uint32_t *results, unsigned flows, unsigned burst)
{
	double least = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double begun = now(), took;

		for (unsigned n = 0; n < flows; n += burst)
			rte_acl_classify(acl, data + n, results + n, burst < flows - n ? burst : flows - n, 1);
		took = (now() - begun) / flows;
		if (!round || took < least)
			least = took;
	}
	return least;
}

int main(void)
{
	char *eal[] = { "acl", "--no-huge", "-m", "4096", "--no-pci", "--no-shconf", "--no-telemetry", NULL };
	unsigned rules, flows;
	unsigned long long sum = 0;
	double begun, took, one, many;
	const uint8_t **data;
	struct rte_acl_ctx *acl;
	uint32_t *results;

	if (rte_eal_init(sizeof(eal) / sizeof(*eal) - 1, eal) < 0)
		die("DPDK does not start");
	rules = number();
	flows = number();
	begun = now();
	acl = build(rules);
	took = now() - begun;
	data = read_flows(flows);
	results = calloc(flows, sizeof(*results));
	if (!results)
		die("no memory");
	one = lowest(acl, data, results, flows, 1);
	many = lowest(acl, data, results, flows, BURST);
	for (unsigned n = 0; n < flows; n++)
		sum += results[n];
	printf("%.1f %.1f %.1f %llu\n", one, many, took / 1e6, sum);
	return 0;
}
