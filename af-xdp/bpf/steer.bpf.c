/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Redirects to AF_XDP sockets exactly the packets that a live stack has asked for; all else goes to the kernel.
 *
 * Self-contained on purpose: no kernel or libbpf headers, so that the object depends on the compiler alone.
 * Build: af-xdp/bpf/build.sh
 */
#include "steer.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
/* A flow, a word at a time. */
typedef u64 __attribute__((may_alias)) word;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define BE16(x) ((u16)__builtin_bswap16(x))

/* BTF-defined maps. */
#define UINT(name, value) int (*name)[value]
#define TYPE(name, value) typeof(value) *name

/* Helper numbers, map types and actions are kernel ABI (uapi/linux/bpf.h). */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*ktime_get_ns)(void) = (void *)5;
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_LPM_TRIE = 11, MAP_XSK = 17 };
enum { MAP_NO_PREALLOC = 1, MAP_MMAPABLE = 1 << 10 };

struct eth_header {
	u8 destination[6];
	u8 source[6];
	u16 type;
};

/* In front of the EtherType (IEEE 802.1Q 9.6). */
struct vlan_tag {
	u16 type;
	u16 tci;
};

struct ipv4_header {
	u8 version_length;
	u8 tos;
	u16 total_length;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 source;
	u32 destination;
};

struct ipv6_header {
	u32 version_class_label;
	u16 payload_length;
	u8 next;
	u8 hop_limit;
	u8 source[16];
	u8 destination[16];
};

/* Of every extension header, and of the fragment header. */
struct extension {
	u8 next;
	u8 length;
	u16 offset;
};

struct fragment_header {
	u8 next;
	u8 zero;
	u16 offset;
	u32 id;
};

struct ports {
	u16 source;
	u16 destination;
};

/* As far as the flags. */
struct tcp_header {
	u16 source;
	u16 destination;
	u32 sequence;
	u32 acknowledgement;
	u8 offset;
	u8 flags;
};

struct icmp_header {
	u8 type;
	u8 code;
	u16 checksum;
	u32 rest;
};

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd, ETH_VLAN = 0x8100 };
enum { VLAN_ID = 0x0fff };
enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17 };
enum { TCP_SYN = 0x02, TCP_ACK = 0x10 };
enum { ICMP_UNREACHABLE = 3, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER_PROBLEM = 12 };
enum { IPV4_MORE_OR_OFFSET = 0x3fff };
enum { PROTO_ICMP6 = 58 };
enum { ICMP6_UNREACHABLE = 1, ICMP6_PARAMETER_PROBLEM = 4 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
/* Extension headers that are followed, in a packet and in a quoted one: as many as the stack takes. */
enum { EXTENSIONS = 6 };
/* What is added to a pointer into a packet must be seen to be small. */
enum { FAR = 0x3fff };
/* A datagram in a longer packet fits no frame of a stack: the kernel's socket hears it. (TCP is cut.) */
enum { DATAGRAM_MAX = 3584 };

#include "way.h"

struct {
	UINT(type, MAP_HASH);
	UINT(max_entries, STEER_FLOWS_MAX);
	UINT(map_flags, MAP_NO_PREALLOC);
	TYPE(key, struct steer_flow);
	TYPE(value, u32);
} flows SEC(".maps");

/* Written by the stacks without a system call. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STEER_DIRECTORY);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_flow);
} directory SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STEER_GROUPS);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_group);
} groups SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 1);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_config);
} config SEC(".maps");

struct {
	UINT(type, MAP_HASH);
	UINT(max_entries, STEER_PORTS_MAX);
	UINT(map_flags, MAP_NO_PREALLOC);
	TYPE(key, struct steer_port_key);
	TYPE(value, u32);
} ports SEC(".maps");

struct address {
	u8 bytes[16];
};

/* On which VLAN the host's addresses live; those of the interface itself are not here. */
struct {
	UINT(type, MAP_HASH);
	UINT(max_entries, STEER_TAGGED_MAX);
	UINT(map_flags, MAP_NO_PREALLOC);
	TYPE(key, struct address);
	TYPE(value, u32);
} tagged SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct steer_limits);
} limits SEC(".maps");

/* Whose the pieces of a TCP segment are that do not carry its ports. */
struct packet {
	u8 source[16];
	u8 destination[16];
	u32 id;
};

struct {
	UINT(type, MAP_LRU_HASH);
	UINT(max_entries, STEER_PACKETS);
	TYPE(key, struct packet);
	TYPE(value, u32);
} packets SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct steer_counts);
} counts SEC(".maps");

INLINE void count(enum steer_counter which)
{
	u32 zero = 0;
	struct steer_counts *c = map_lookup(&counts, &zero);

	if (c)
		c->of[which]++;
}

INLINE int pass(enum steer_counter why)
{
	count(why);
	return PASS;
}

INLINE void mapped(u8 to[16], u32 v4)
{
	u32 *word = (u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = __builtin_bswap32(0xffff);
	word[3] = v4;
}

INLINE int is_v4(const u8 address[16])
{
	const u32 *word = (const u32 *)address;

	return !word[0] && !word[1] && word[2] == __builtin_bswap32(0xffff);
}

/* As `hash` in src/steer/directory.rs. */
INLINE u64 hash(const struct steer_flow *flow, u64 seed)
{
	const word *words = (const word *)flow;
	u64 h = seed;

#pragma unroll
	for (int i = 0; i < 5; i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	return h;
}

/* The slot that the directory gives a flow, or STEER_NOBODY. */
INLINE u32 slot_in_directory(const struct steer_flow *flow, u64 h, u32 mask)
{
	const word *key = (const word *)flow;

#pragma unroll
	for (u32 way = 0; way < STEER_WAYS; way++) {
		u32 at = ((u32)h & mask & ~(STEER_WAYS - 1)) + way;
		const volatile word *words = map_lookup(&directory, &at);
		u64 last;

		if (!words)
			return STEER_NOBODY;
		last = words[4];
		if ((last & 0xffffffffffULL) == key[4] && (last >> 48 & 0xff) == STEER_LIVE && words[0] == key[0] &&
		    words[1] == key[1] && words[2] == key[2] && words[3] == key[3])
			return last >> 40 & 0xff;
	}
	return STEER_NOBODY;
}

/* The slot of who hears the flow's local endpoint, or STEER_NOBODY. */
INLINE u32 slot_in_group(const struct steer_flow *flow, u64 h)
{
	struct steer_port_key key = { .port = flow->local_port, .protocol = flow->protocol };
	struct steer_group *group;
	u32 *at;

	__builtin_memcpy(key.local, flow->local, 16);
	at = map_lookup(&ports, &key);
	if (!at)
		return STEER_NOBODY;
	group = map_lookup(&groups, at);
	if (!group)
		return STEER_NOBODY;
	return ((volatile u8 *)group->bucket)[h >> 40 & (STEER_BUCKETS - 1)];
}

/* Whether those who drive the port may have flows of the local end, whatever they have written into their maps. Not
 * static: the verifier looks at such a function once, not once for every way that leads to it. */
__attribute__((noinline)) int permitted(u64 high, u64 low, u32 port)
{
	u32 zero = 0, addresses, ports, i;
	const struct steer_limits *l = map_lookup(&limits, &zero);

	if (!l)
		return 0;
	addresses = l->addresses;
	ports = l->ports;
#pragma clang loop unroll(disable)
	for (i = 0; addresses && i < STEER_LIMITS; i++) {
		const word *a = (const word *)l->address[i];

		if (i >= addresses)
			return 0;
		if (a[0] == high && a[1] == low)
			break;
	}
	if (i == STEER_LIMITS)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; ports && i < STEER_LIMITS; i++) {
		if (i >= ports)
			return 0;
		if (l->first[i] <= port && port <= l->last[i])
			break;
	}
	return i != STEER_LIMITS;
}

/* Whether a packet came by the VLAN that has the address: a tag that is elsewhere, or that a driver took off before we
 * saw it, makes it the kernel's, who sees both. */
INLINE int is_at_home(const struct steer_config *c, const u8 local[16], u32 vlan)
{
	u32 *has;

	if (!vlan && !c->tagged)
		return 1;
	has = map_lookup(&tagged, local);
	if (vlan == (has ? *has : 0))
		return 1;
	count(STEER_MISS_VLAN);
	return 0;
}

/* The slot that a flow is steered to, or STEER_NOBODY; `port`: by its local endpoint; `hashed`: its hash. */
INLINE u32 slot_of(const struct steer_flow *key, u32 vlan, int *port, u64 *hashed)
{
	u32 zero = 0, slot;
	struct steer_config *c = map_lookup(&config, &zero);
	const word *local = (const word *)key->local;
	u64 h;

	*port = 0;
	*hashed = 0;
	if (!c || !permitted(local[0], local[1], __builtin_bswap16(key->local_port)))
		return STEER_NOBODY;
	if (!is_at_home(c, key->local, vlan))
		return STEER_NOBODY;
	h = hash(key, c->seed);
	*hashed = h;
	slot = slot_in_directory(key, h, c->mask);
	if (slot == STEER_NOBODY && c->overflow) {
		u32 *found = map_lookup(&flows, key);

		if (found)
			slot = *found;
	}
	if (slot == STEER_NOBODY) {
		slot = slot_in_group(key, h);
		*port = 1;
	}
	return slot;
}

#include "credit.h"
#include "kernels.h"
#include "guard.h"

/* Sends the packet to a stack, which knows of no priority tags. PASS: there is no socket for it. */
INLINE int lead_to(struct context *ctx, u32 slot)
{
	int action = to_stack(ctx, slot);

	if (action != PASS)
		untag(ctx);
	return action;
}

INLINE int redirect_to(struct context *ctx, struct steer_alarm *p, u32 slot, enum steer_counter how)
{
	int action = lead_to(ctx, slot);

	if (action == PASS)
		return unasked(ctx, p, STEER_PASS_NO_XSK);
	count(how);
	return action;
}

/* An ICMP error about a packet of the flow. Nobody answers it, so it is not judged here. */
INLINE int redirect_error(struct context *ctx, const struct steer_flow *key, u32 vlan)
{
	u64 hashed;
	int port, action;
	u32 slot = slot_of(key, vlan, &port, &hashed);

	if (slot >= STEER_SLOTS)
		return pass(STEER_PASS_OTHER);
	action = lead_to(ctx, slot);
	count(action == PASS ? STEER_PASS_NO_XSK : STEER_ICMP);
	return action;
}

/* A whole packet of TCP or UDP, whose header begins with the ports. */
INLINE int transport(struct context *ctx, struct steer_alarm *p, const struct ports *l4, void *end, u32 len)
{
	const struct tcp_header *tcp = (const void *)l4;
	struct steer_flow *key = &p->flow;
	u32 slot, sequence = 0;
	int port, opens = 0;
	u64 hashed;

	key->local_port = l4->destination;
	key->remote_port = l4->source;
	if (key->protocol == PROTO_TCP && (void *)(tcp + 1) <= end) {
		p->tcp_flags = tcp->flags;
		opens = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		sequence = tcp->sequence;
	}
	slot = slot_of(key, p->vlan, &port, &hashed);
	if (is_kept_out(ctx, p, slot, port))
		return DROP;
	if (key->protocol == PROTO_UDP && len > DATAGRAM_MAX && !is_cut(ctx))
		return pass(STEER_PASS_FRAGMENT);
	if (slot >= STEER_SLOTS)
		return pass(STEER_PASS_MISS);
	if (opens && !has_credit(slot, hashed, sequence)) {
		count(STEER_SHED_SYN);
		return DROP;
	}
	if (port && key->protocol == PROTO_TCP && is_the_kernels(ctx, key))
		return pass(STEER_PASS_KERNELS);
	return redirect_to(ctx, p, slot, port ? STEER_PORT : STEER_FLOW);
}

/* A piece of a packet: of TCP, or of anything that is judged. The first carries the ports and says where the others go;
 * one that comes before it is the kernel's. Pieces of anything but TCP the kernel puts together: the whole datagram
 * arrives on the kernel's socket, and is judged as what comes to that of the stack. `first`: where the ports are, or
 * nowhere. */
INLINE int piece(struct context *ctx, struct steer_alarm *p, u32 id, const struct ports *first)
{
	struct packet packet = { .id = id };
	struct steer_flow *key = &p->flow;
	u32 slot = STEER_NOBODY, *known;
	u64 hashed;
	int port = 0;

	if (key->protocol != PROTO_TCP && !is_guarded())
		return pass(STEER_PASS_FRAGMENT);
	__builtin_memcpy(packet.source, key->remote, 16);
	__builtin_memcpy(packet.destination, key->local, 16);
	if (first) {
		int names = key->protocol == PROTO_ICMP || key->protocol == PROTO_ICMP6;

		key->local_port = names ? first->source : first->destination;
		key->remote_port = names ? 0 : first->source;
		if (!names)
			slot = slot_of(key, p->vlan, &port, &hashed);
		p->tcp_flags = STEER_FLAGS_UNKNOWN;
		if (is_kept_out(ctx, p, slot, port)) {
			slot = STEER_NOBODY;
			map_update(&packets, &packet, &slot, 0);
			return DROP;
		}
		if (key->protocol != PROTO_TCP || slot >= STEER_SLOTS)
			slot = STEER_KERNEL;
		if (slot < STEER_SLOTS || is_guarded())
			map_update(&packets, &packet, &slot, 0);
	} else {
		known = map_lookup(&packets, &packet);
		if (!known) {
			key->protocol = FRAGMENT;
			return unasked(ctx, p, STEER_PASS_FRAGMENT);
		}
		slot = *known;
		if (slot == STEER_NOBODY) {
			count(STEER_DROP_CLOAKED);
			return DROP;
		}
	}
	return slot < STEER_SLOTS ? redirect_to(ctx, p, slot, STEER_PIECE) : pass(STEER_PASS_FRAGMENT);
}

/* An ICMP error quotes the head of a packet that this host sent: its source is our side (RFC 792, RFC 1122 3.2.2). */
INLINE int icmp(struct context *ctx, struct steer_alarm *p, const struct ipv4_header *outer, void *l4, void *end)
{
	struct icmp_header *icmp = l4;
	struct ipv4_header *ip = (void *)(icmp + 1);
	struct ports *quoted;
	struct steer_flow key = {};

	if ((void *)ip > end)
		return pass(STEER_PASS_SHORT);
	if (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED &&
	    icmp->type != ICMP_PARAMETER_PROBLEM) {
		p->flow.local_port = ((struct ports *)icmp)->source;
		return unasked(ctx, p, STEER_PASS_OTHER);
	}
	if ((void *)(ip + 1) > end)
		return pass(STEER_PASS_OTHER);
	if (ip->version_length >> 4 != 4 || (ip->version_length & 15) < 5)
		return pass(STEER_PASS_SHORT);
	if (ip->protocol != PROTO_TCP && ip->protocol != PROTO_UDP)
		return pass(STEER_PASS_OTHER);
	/* Only the first fragment carries the ports. */
	if (ip->fragment & BE16(0x1fff))
		return pass(STEER_PASS_FRAGMENT);
	quoted = (void *)ip + (ip->version_length & 15) * 4;
	if ((void *)(quoted + 1) > end)
		return pass(STEER_PASS_SHORT);
	/* An error that quotes a packet from another address than it was sent to is not about us. */
	if (ip->source != outer->destination)
		return pass(STEER_PASS_OTHER);
	mapped(key.local, ip->source);
	mapped(key.remote, ip->destination);
	key.local_port = quoted->source;
	key.remote_port = quoted->destination;
	key.protocol = ip->protocol;
	return redirect_error(ctx, &key, p->vlan);
}

/* Where the walk over extension headers has come. */
struct found {
	u32 at;
	u8 protocol;
	u8 fragment;
	u8 cut;
};

/* Walks from the header `next` at byte `at` of the frame to the first that is no extension header, or that is the
 * kernel's: pieces, and routes that do not end here. */
INLINE struct found walk(void *data, void *end, u32 at, u8 next)
{
	struct found f = { .at = at, .protocol = next };

	for (int n = 0; n < EXTENSIONS; n++) {
		struct extension *e = data + (f.at & FAR);

		if (f.protocol != HOP_BY_HOP && f.protocol != ROUTING && f.protocol != FRAGMENT && f.protocol != DESTINATION)
			break;
		if ((void *)(e + 1) > end) {
			f.cut = 1;
			break;
		}
		if (f.protocol == FRAGMENT) {
			/* One that is the whole packet is no fragment (RFC 6946). */
			f.fragment = (e->offset & BE16(0xfff9)) != 0;
			if (f.fragment)
				break;
			f.at += 8;
		} else if (f.protocol == ROUTING && (e->offset & BE16(0x00ff))) {
			break;
		} else {
			f.at += 8 + 8 * (u32)e->length;
		}
		f.protocol = e->next;
	}
	return f;
}

INLINE int same16(const u8 *a, const u8 *b)
{
	const u32 *x = (const u32 *)a, *y = (const u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* As piece4(); `at` is where the fragment header begins. */
INLINE int piece6(struct context *ctx, struct steer_alarm *p, u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct fragment_header *f = data + (at & FAR);
	struct ports *l4 = (void *)(f + 1);
	u16 offset;

	if ((void *)(f + 1) > end)
		return unasked(ctx, p, STEER_PASS_SHORT);
	offset = f->offset & BE16(0xfff8);
	if (!offset && (void *)(l4 + 1) > end)
		return unasked(ctx, p, STEER_PASS_SHORT);
	p->flow.protocol = f->next;
	return piece(ctx, p, f->id, offset ? 0 : l4);
}

/* As icmp() (RFC 4443 3). Of the transport at least the ports are quoted. */
INLINE int icmp6(struct context *ctx, struct steer_alarm *p, const struct ipv6_header *outer, u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmp_header *icmp = data + (at & FAR);
	struct ipv6_header *ip = (void *)(icmp + 1);
	struct ports *quoted;
	struct steer_flow key = {};
	struct found f;

	if ((void *)ip > end)
		return pass(STEER_PASS_SHORT);
	if (icmp->type < ICMP6_UNREACHABLE || icmp->type > ICMP6_PARAMETER_PROBLEM) {
		p->flow.local_port = ((struct ports *)icmp)->source;
		return unasked(ctx, p, STEER_PASS_OTHER);
	}
	if ((void *)(ip + 1) > end)
		return pass(STEER_PASS_OTHER);
	if ((ip->version_class_label & 0xf0) != 0x60)
		return pass(STEER_PASS_SHORT);
	f = walk(data, end, (at & FAR) + sizeof(*icmp) + sizeof(*ip), ip->next);
	if (f.fragment)
		return pass(STEER_PASS_FRAGMENT);
	if (f.cut)
		return pass(STEER_PASS_SHORT);
	if (f.protocol != PROTO_TCP && f.protocol != PROTO_UDP)
		return pass(STEER_PASS_OTHER);
	quoted = data + (f.at & FAR);
	if ((void *)(quoted + 1) > end)
		return pass(STEER_PASS_SHORT);
	if (!same16(ip->source, outer->destination))
		return pass(STEER_PASS_OTHER);
	__builtin_memcpy(key.local, ip->source, 16);
	__builtin_memcpy(key.remote, ip->destination, 16);
	key.local_port = quoted->source;
	key.remote_port = quoted->destination;
	key.protocol = f.protocol;
	return redirect_error(ctx, &key, p->vlan);
}

/* `at`: where the header begins. */
INLINE int steer6(struct context *ctx, u32 at, u32 vlan)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6_header *ip = data + at;
	struct steer_alarm p = { .vlan = vlan };
	struct ports *l4;
	struct found f;

	if ((void *)(ip + 1) > end || (ip->version_class_label & 0xf0) != 0x60)
		return pass(STEER_PASS_SHORT);
	__builtin_memcpy(p.flow.local, ip->destination, 16);
	__builtin_memcpy(p.flow.remote, ip->source, 16);
	f = walk(data, end, at + sizeof(*ip), ip->next);
	p.flow.protocol = f.protocol;
	if (f.fragment)
		return piece6(ctx, &p, f.at);
	if (f.cut)
		return unasked(ctx, &p, STEER_PASS_SHORT);
	if (f.protocol == PROTO_ICMP6)
		return icmp6(ctx, &p, ip, f.at);
	if (f.protocol != PROTO_TCP && f.protocol != PROTO_UDP)
		return unasked(ctx, &p, STEER_PASS_OTHER);
	l4 = data + (f.at & FAR);
	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	return transport(ctx, &p, l4, end, __builtin_bswap16(ip->payload_length));
}

/* The first piece must carry the ports; the last may be shorter than they are. */
INLINE int piece4(struct context *ctx, struct steer_alarm *p, const struct ipv4_header *ip, void *end)
{
	struct ports *l4 = (void *)ip + (ip->version_length & 15) * 4;
	u16 offset = ip->fragment & BE16(0x1fff);

	if (!offset && (void *)(l4 + 1) > end) {
		p->flow.protocol = FRAGMENT;
		return unasked(ctx, p, STEER_PASS_SHORT);
	}
	return piece(ctx, p, ip->id, offset ? 0 : l4);
}

/* `type`: what the header at byte `at` is. */
INLINE int steer_ip(struct context *ctx, u16 type, u32 at, u32 vlan)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4_header *ip = data + at;
	struct steer_alarm p = { .vlan = vlan };
	struct ports *l4;

	if (type == BE16(ETH_IPV6))
		return steer6(ctx, at, vlan);
	if (type != BE16(ETH_IPV4))
		return pass(STEER_PASS_LINK);
	if ((void *)(ip + 1) > end || ip->version_length >> 4 != 4 || (ip->version_length & 15) < 5)
		return pass(STEER_PASS_SHORT);
	mapped(p.flow.local, ip->destination);
	mapped(p.flow.remote, ip->source);
	p.flow.protocol = ip->protocol;
	if (ip->fragment & BE16(IPV4_MORE_OR_OFFSET))
		return piece4(ctx, &p, ip, end);
	l4 = (void *)ip + (ip->version_length & 15) * 4;
	if (ip->protocol == PROTO_ICMP)
		return icmp(ctx, &p, ip, l4, end);
	if (ip->protocol != PROTO_TCP && ip->protocol != PROTO_UDP)
		return unasked(ctx, &p, STEER_PASS_OTHER);
	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	return transport(ctx, &p, l4, end, __builtin_bswap16(ip->total_length));
}

/* Looks behind one tag; of two the kernel knows. A priority tag names no VLAN. */
INLINE int steer(struct context *ctx)
{
	u32 at = sizeof(struct eth_header), vlan = 0;
	struct eth_header *eth;
	struct vlan_tag *tag;
	void *end;
	u16 type;

	if (!is_plain(ctx))
		return pass(STEER_PASS_LINK);
	end = (void *)(long)ctx->data_end;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > end)
		return pass(STEER_PASS_SHORT);
	type = eth->type;
	if (type == BE16(ETH_VLAN)) {
		tag = (void *)eth + sizeof(*eth) - sizeof(eth->type);
		if ((void *)(tag + 2) > end)
			return pass(STEER_PASS_SHORT);
		vlan = __builtin_bswap16(tag->tci) & VLAN_ID;
		type = tag[1].type;
		at += sizeof(*tag);
	}
	return steer_ip(ctx, type, at, vlan);
}

#ifdef STEER_TC

SEC("classifier")
int steer_tc(struct context *ctx)
{
	return steer(ctx);
}

#else

/* Two programs of one body: a driver that cannot do multi-buffer XDP refuses the one that says it can. */
SEC("xdp.frags")
int steer_frags(struct context *ctx)
{
	return steer(ctx);
}

SEC("xdp")
int steer_linear(struct context *ctx)
{
	return steer(ctx);
}

#endif

char LICENSE[] SEC("license") = "Dual MIT/GPL";
