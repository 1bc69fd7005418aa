/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program itself carries out of a policy: what comes to a cloaked address and is permitted by no rule never
 * reaches the kernel, so nothing answers it. Part of steer.bpf.c. */

struct {
	UINT(type, MAP_LPM_TRIE);
	UINT(max_entries, STEER_PLACES);
	UINT(map_flags, MAP_NO_PREALLOC);
	TYPE(key, struct steer_place);
	TYPE(value, u32);
} places SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 2 * STEER_CLASSES);
	TYPE(key, u32);
	TYPE(value, struct steer_class);
} classes SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 2 * STEER_TABLES);
	TYPE(key, u32);
	TYPE(value, struct steer_table);
} tables SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 2 * STEER_TALLIES);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_tally);
} tallies SEC(".maps");

/* The first is for how many there were, and how many of them were taken away. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 1 + STEER_ALARMS);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_alarm);
} alarms SEC(".maps");

enum { OPEN, PERMITTED, DENIED, CHANGED };
/* Bits that count in a key of the trie, with one of everything. */
enum { WHOLE = 32 + 128 };
enum { LOOPBACK = 1 };
/* More than any port: see permitted(). */
enum { ANY_PORT = 0x10000 };
/* RFC 792, RFC 4443, RFC 4861: what is no question. */
enum { ICMP_ECHO_REPLY = 0, ICMP_QUENCH = 4, ICMP_REDIRECT = 5 };
enum { ICMP_TIMESTAMP_REPLY = 14, ICMP_INFORMATION_REPLY = 16, ICMP_MASK_REPLY = 18 };
enum { ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129, ICMP6_SOLICIT_ROUTER = 133, ICMP6_REDIRECT = 137 };

/* Whether there is a guard at all. */
INLINE int is_guarded(void)
{
	u32 zero = 0;
	struct steer_config *c = map_lookup(&config, &zero);

	return c && *(volatile u32 *)&c->guard;
}

/* The rules that match at a place; the empty class where there are none. */
INLINE const struct steer_class *class_at(const struct steer_place *place)
{
	u32 at = place->bank * STEER_CLASSES, *found = map_lookup(&places, place);

	if (found)
		at += *found;
	return map_lookup(&classes, &at);
}

INLINE const struct steer_class *class_of(const struct steer_place *place, u32 at)
{
	at += place->bank * STEER_CLASSES;
	return map_lookup(&classes, &at);
}

INLINE const struct steer_class *class_of_number(struct steer_place *place, enum steer_kind kind, u16 number)
{
	place->kind = kind;
	__builtin_memset(place->data, 0, sizeof(place->data));
	*(u16 *)place->data = number;
	return class_at(place);
}

/* The place of the only bit of `bit`. */
INLINE u32 place_of(u64 bit)
{
	u32 at = 0;

	if (!(bit & 0x00000000ffffffffULL))
		at += 32;
	if (!(bit & 0x0000ffff0000ffffULL))
		at += 16;
	if (!(bit & 0x00ff00ff00ff00ffULL))
		at += 8;
	if (!(bit & 0x0f0f0f0f0f0f0f0fULL))
		at += 4;
	if (!(bit & 0x3333333333333333ULL))
		at += 2;
	if (!(bit & 0x5555555555555555ULL))
		at += 1;
	return at;
}

/* What the first rule says that matches, of the table of the packet's destination: a flow that begins with it is
 * permitted or denied. Says which table and rule. Only a table with a flag that is wanted and none that excuses has a
 * say: that is looked at before its rules are. Not static: the verifier looks at it once. */
__attribute__((noinline)) int judge(struct steer_alarm *p, u32 wanted, u32 excuse)
{
	const struct steer_class *remote, *local, *port, *protocol, *allow;
	struct steer_place place = { .len = WHOLE, .kind = STEER_LOCAL };
	u32 zero = 0, guard, at, which, *number;
	const volatile struct steer_config *c = map_lookup(&config, &zero);
	const struct steer_table *t;
	int verdict = DENIED;

	if (!p || !c)
		return OPEN;
	guard = c->guard;
	if (!guard)
		return OPEN;
	place.bank = guard & 1;
	__builtin_memcpy(place.data, p->flow.local, 16);
	number = map_lookup(&places, &place);
	if (!number)
		return c->guard == guard ? OPEN : CHANGED;
	at = place.bank * STEER_TABLES + (*number & (STEER_TABLES - 1));
	t = map_lookup(&tables, &at);
	if (!t || !(t->flags & wanted) || t->flags & excuse)
		return c->guard == guard ? OPEN : CHANGED;
	p->guard = guard;
	p->table = *number;
	p->table_flags = t->flags;
	p->rule = STEER_NO_RULE;
	place.table = *number;
	if (is_v4(p->flow.remote)) {
		place.kind = STEER_REMOTE4;
		__builtin_memset(place.data, 0, sizeof(place.data));
		__builtin_memcpy(place.data, p->flow.remote + 12, 4);
	} else {
		place.kind = STEER_REMOTE6;
		__builtin_memcpy(place.data, p->flow.remote, 16);
	}
	remote = class_at(&place);
	switch (p->flow.protocol) {
	case PROTO_TCP: which = 0; break;
	case PROTO_UDP: which = 1; break;
	case PROTO_ICMP: which = 2; break;
	case PROTO_ICMP6: which = 3; break;
	default: return c->guard == guard ? DENIED : CHANGED;
	}
	if (which < 2) {
		local = class_of_number(&place, STEER_LOCAL_PORT, p->flow.local_port);
		port = class_of_number(&place, STEER_REMOTE_PORT, p->flow.remote_port);
	} else {
		local = port = class_of_number(&place, STEER_ICMP_TYPE, p->flow.local_port);
	}
	protocol = class_of(&place, t->protocol[which]);
	allow = class_of(&place, t->allow);
	if (!remote || !local || !port || !protocol || !allow)
		return OPEN;
	for (u32 n = 0; n < STEER_WORDS; n++) {
		u64 all = remote->of[n] & local->of[n] & port->of[n] & protocol->of[n], first = all & -all;

		if (all) {
			p->rule = n * 64 + place_of(first);
			verdict = allow->of[n] & first ? PERMITTED : DENIED;
			break;
		}
	}
	/* While the number stands, nobody has touched what was read. */
	return c->guard == guard ? verdict : CHANGED;
}

/* Whether an ICMP message, a table's answer or not, gets an answer. */
INLINE int asks(const struct steer_flow *flow)
{
	u8 type = __builtin_bswap16(flow->local_port) >> 8;

	if (flow->protocol == PROTO_ICMP6)
		return type >= ICMP6_ECHO && type != ICMP6_ECHO_REPLY &&
		       (type < ICMP6_SOLICIT_ROUTER || type > ICMP6_REDIRECT);
	if (flow->protocol != PROTO_ICMP)
		return 1;
	switch (type) {
	case ICMP_ECHO_REPLY:
	case ICMP_UNREACHABLE:
	case ICMP_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
	case ICMP_TIMESTAMP_REPLY:
	case ICMP_INFORMATION_REPLY:
	case ICMP_MASK_REPLY:
		return 0;
	}
	return 1;
}

/* Counts a packet of so many bytes for its table, and for the rule that decided. Not inline: with all of it the compiler
 * puts half a pointer aside, which the verifier does not allow. */
static __attribute__((noinline)) void tally(const struct steer_alarm *p, u64 bytes)
{
	u32 bank = p->guard & 1, at = bank * STEER_TABLES + (p->table & (STEER_TABLES - 1));
	struct steer_table *t = map_lookup(&tables, &at);
	struct steer_tally *rule;

	if (!t)
		return;
	__sync_fetch_and_add(&t->packets, 1);
	__sync_fetch_and_add(&t->bytes, bytes);
	if (p->rule == STEER_NO_RULE || t->tallies == STEER_UNTALLIED)
		return;
	at = bank * STEER_TALLIES + t->tallies + p->rule;
	rule = map_lookup(&tallies, &at);
	if (!rule)
		return;
	__sync_fetch_and_add(&rule->packets, 1);
	__sync_fetch_and_add(&rule->bytes, bytes);
}

INLINE void tell(const struct steer_alarm *p)
{
	u32 zero = 0, at;
	u64 *heads = map_lookup(&alarms, &zero), number;
	struct steer_alarm *one;

	if (!heads)
		return;
	number = __sync_fetch_and_add(&heads[0], 1);
	at = 1 + (number & (STEER_ALARMS - 1));
	one = map_lookup(&alarms, &at);
	if (!one)
		return;
	__sync_lock_test_and_set(&one->number, 0);
	one->flow = p->flow;
	one->guard = p->guard;
	one->rule = p->rule;
	one->table = p->table;
	one->table_flags = p->table_flags;
	one->tcp_flags = p->tcp_flags;
	__sync_lock_test_and_set(&one->number, number + 1);
}

/* Whether a packet is dropped that no exact flow leads to a stack; `heard`: its port does. Counts it then, and keeps
 * it to be told of; what a table denies that only monitors, too. Replies to what the kernel's own sockets have begun are let pass. Not static, as judge(). */
__attribute__((noinline)) int keeps_out(struct context *ctx, struct steer_alarm *p, int heard)
{
	u32 wanted = STEER_CLOAK, excuse = 0, port = ANY_PORT;
	int verdict, is_transport, monitors;
	const word *local;

	/* What comes from the host itself is not asked for by strangers. The rules are those of the interface, which those of
	 * a VLAN on it need not be. Whom the frame is for does not count: Linux takes an address of ours in one for all. */
	if (!p || p->vlan || ctx->ingress_ifindex == LOOPBACK)
		return 0;
	is_transport = p->flow.protocol == PROTO_TCP || p->flow.protocol == PROTO_UDP;
	if (is_transport) {
		port = __builtin_bswap16(p->flow.local_port);
		wanted = STEER_OFFLOAD | (heard ? 0 : STEER_CLOAK);
	}
	/* What comes to a stack's socket may be a reply, which the stack tells apart. Who only monitors leaves all that comes
	 * there to the stack, which would count it a second time. */
	if (heard)
		excuse = STEER_MONITOR | (p->flow.protocol == PROTO_UDP ? STEER_UDP_OUT : 0);
	local = (const word *)p->flow.local;
	if (!asks(&p->flow) || !permitted(local[0], local[1], port))
		return 0;
	verdict = judge(p, wanted, excuse);
	if (verdict == CHANGED)
		verdict = judge(p, wanted, excuse);
	/* A flow that meets two changes at once comes again. (Nobody knows by then whether its table only monitors.) */
	if (verdict == CHANGED)
		return 1;
	if (verdict != DENIED)
		return 0;
	if (is_transport && is_the_kernels(ctx, &p->flow))
		return 0;
	monitors = p->table_flags & STEER_MONITOR;
	if (monitors)
		count(STEER_MONITORED);
	else
		count(p->table_flags & STEER_OFFLOAD ? STEER_DROP_DENIED : STEER_DROP_CLOAKED);
	tally(p, bytes_of(ctx) - sizeof(struct eth_header));
	tell(p);
	return !monitors;
}

/* The same for a packet that the maps lead to `slot`, or to nobody; `port`: not by its exact flow. */
INLINE int is_kept_out(struct context *ctx, struct steer_alarm *p, u32 slot, int port)
{
	int heard = slot < STEER_SLOTS;

	return (port || !heard) && is_guarded() && keeps_out(ctx, p, heard);
}

/* A packet that no stack has asked for is the kernel's, if it may be. */
INLINE int unasked(struct context *ctx, struct steer_alarm *p, enum steer_counter why)
{
	return is_guarded() && keeps_out(ctx, p, 0) ? DROP : pass(why);
}
