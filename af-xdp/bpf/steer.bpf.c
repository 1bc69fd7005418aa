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
static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_XSK = 17 };
enum { MAP_NO_PREALLOC = 1, MAP_MMAPABLE = 1 << 10 };
enum { XDP_DROP = 1, XDP_PASS = 2 };

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

struct eth_header {
	u8 destination[6];
	u8 source[6];
	u16 type;
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

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd };
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

struct {
	UINT(type, MAP_XSK);
	UINT(max_entries, STEER_SLOTS * STEER_QUEUES);
	TYPE(key, u32);
	TYPE(value, u32);
} xsks SEC(".maps");

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
	return XDP_PASS;
}

INLINE void mapped(u8 to[16], u32 v4)
{
	u32 *word = (u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = __builtin_bswap32(0xffff);
	word[3] = v4;
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

/* The slot that a flow is steered to, or STEER_NOBODY; `port`: by its local endpoint; `hashed`: its hash. */
INLINE u32 slot_of(const struct steer_flow *key, int *port, u64 *hashed)
{
	u32 zero = 0, slot;
	struct steer_config *c = map_lookup(&config, &zero);
	const word *local = (const word *)key->local;
	u64 h;

	*port = 0;
	*hashed = 0;
	if (!c || !permitted(local[0], local[1], __builtin_bswap16(key->local_port)))
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

INLINE int redirect_to(struct xdp_md *ctx, u32 slot, enum steer_counter how)
{
	int action;

	if (ctx->rx_queue_index >= STEER_QUEUES)
		return pass(STEER_PASS_NO_XSK);
	action = redirect_map(&xsks, (u64)slot * STEER_QUEUES + ctx->rx_queue_index, XDP_PASS);
	count(action == XDP_PASS ? STEER_PASS_NO_XSK : how);
	return action;
}

#include "credit.h"
#include "kernels.h"

/* An ICMP error about a packet of the flow. */
INLINE int redirect_error(struct xdp_md *ctx, const struct steer_flow *key)
{
	u64 hashed;
	int port;
	u32 slot = slot_of(key, &port, &hashed);

	return slot < STEER_SLOTS ? redirect_to(ctx, slot, STEER_ICMP) : pass(STEER_PASS_OTHER);
}

/* A whole packet of TCP or UDP, whose header begins with the ports. */
INLINE int transport(struct xdp_md *ctx, struct steer_flow *key, const struct ports *l4, void *end)
{
	const struct tcp_header *tcp = (const void *)l4;
	u64 hashed;
	int port;
	u32 slot;

	key->local_port = l4->destination;
	key->remote_port = l4->source;
	slot = slot_of(key, &port, &hashed);
	if (slot >= STEER_SLOTS)
		return pass(STEER_PASS_MISS);
	if (key->protocol == PROTO_TCP && (void *)(tcp + 1) <= end && (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    !has_credit(slot, hashed, tcp->sequence)) {
		count(STEER_SHED_SYN);
		return XDP_DROP;
	}
	if (port && key->protocol == PROTO_TCP && is_the_kernels(ctx, key))
		return pass(STEER_PASS_KERNELS);
	return redirect_to(ctx, slot, port ? STEER_PORT : STEER_FLOW);
}

/* A piece of a TCP segment. The first carries the ports and says where the others go; one that comes before it is
 * the kernel's. `first`: where the ports are, or nowhere. */
INLINE int piece(struct xdp_md *ctx, struct steer_flow *key, u32 id, const struct ports *first)
{
	struct packet packet = { .id = id };
	u32 slot, *known;
	u64 hashed;
	int port;

	__builtin_memcpy(packet.source, key->remote, 16);
	__builtin_memcpy(packet.destination, key->local, 16);
	if (first) {
		key->protocol = PROTO_TCP;
		key->local_port = first->destination;
		key->remote_port = first->source;
		slot = slot_of(key, &port, &hashed);
		if (slot >= STEER_SLOTS)
			return pass(STEER_PASS_FRAGMENT);
		map_update(&packets, &packet, &slot, 0);
	} else {
		known = map_lookup(&packets, &packet);
		if (!known)
			return pass(STEER_PASS_FRAGMENT);
		slot = *known;
	}
	return redirect_to(ctx, slot, STEER_PIECE);
}

/* An ICMP error quotes the head of a packet that this host sent: its source is our side (RFC 792, RFC 1122 3.2.2). */
INLINE int icmp(struct xdp_md *ctx, const struct ipv4_header *outer, void *l4, void *end)
{
	struct icmp_header *icmp = l4;
	struct ipv4_header *ip = (void *)(icmp + 1);
	struct ports *quoted;
	struct steer_flow key = {};

	if ((void *)(ip + 1) > end)
		return pass(STEER_PASS_OTHER);
	if (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED &&
	    icmp->type != ICMP_PARAMETER_PROBLEM)
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
	return redirect_error(ctx, &key);
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
INLINE int piece6(struct xdp_md *ctx, const struct ipv6_header *ip, u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct fragment_header *f = data + (at & FAR);
	struct ports *l4 = (void *)(f + 1);
	struct steer_flow key = {};

	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	if (f->next != PROTO_TCP)
		return pass(STEER_PASS_FRAGMENT);
	__builtin_memcpy(key.local, ip->destination, 16);
	__builtin_memcpy(key.remote, ip->source, 16);
	return piece(ctx, &key, f->id, f->offset & BE16(0xfff8) ? 0 : l4);
}

/* As icmp() (RFC 4443 3). Of the transport at least the ports are quoted. */
INLINE int icmp6(struct xdp_md *ctx, const struct ipv6_header *outer, u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct icmp_header *icmp = data + (at & FAR);
	struct ipv6_header *ip = (void *)(icmp + 1);
	struct ports *quoted;
	struct steer_flow key = {};
	struct found f;

	if ((void *)(ip + 1) > end)
		return pass(STEER_PASS_OTHER);
	if (icmp->type < ICMP6_UNREACHABLE || icmp->type > ICMP6_PARAMETER_PROBLEM)
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
	return redirect_error(ctx, &key);
}

INLINE int steer6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6_header *ip = data + sizeof(struct eth_header);
	struct steer_flow key = {};
	struct ports *l4;
	struct found f;

	if ((void *)(ip + 1) > end || (ip->version_class_label & 0xf0) != 0x60)
		return pass(STEER_PASS_SHORT);
	f = walk(data, end, sizeof(struct eth_header) + sizeof(*ip), ip->next);
	if (f.fragment)
		return piece6(ctx, ip, f.at);
	if (f.cut)
		return pass(STEER_PASS_SHORT);
	if (f.protocol == PROTO_ICMP6)
		return icmp6(ctx, ip, f.at);
	if (f.protocol != PROTO_TCP && f.protocol != PROTO_UDP)
		return pass(STEER_PASS_OTHER);
	if (f.protocol == PROTO_UDP && __builtin_bswap16(ip->payload_length) > DATAGRAM_MAX)
		return pass(STEER_PASS_FRAGMENT);
	l4 = data + (f.at & FAR);
	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	__builtin_memcpy(key.local, ip->destination, 16);
	__builtin_memcpy(key.remote, ip->source, 16);
	key.protocol = f.protocol;
	return transport(ctx, &key, l4, end);
}

/* Pieces of anything but TCP the kernel puts together; the whole datagram arrives on the kernel's socket. */
INLINE int piece4(struct xdp_md *ctx, const struct ipv4_header *ip, void *end)
{
	struct ports *l4 = (void *)ip + (ip->version_length & 15) * 4;
	struct steer_flow key = {};

	if (ip->protocol != PROTO_TCP)
		return pass(STEER_PASS_FRAGMENT);
	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	mapped(key.local, ip->destination);
	mapped(key.remote, ip->source);
	return piece(ctx, &key, ip->id, ip->fragment & BE16(0x1fff) ? 0 : l4);
}

INLINE int steer(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct eth_header *eth = (void *)(long)ctx->data;
	struct ipv4_header *ip = (void *)(eth + 1);
	struct ports *l4;
	struct steer_flow key = {};

	if ((void *)(eth + 1) > end)
		return pass(STEER_PASS_SHORT);
	if (eth->type == BE16(ETH_IPV6))
		return steer6(ctx);
	if (eth->type != BE16(ETH_IPV4))
		return pass(STEER_PASS_LINK);
	if ((void *)(ip + 1) > end || ip->version_length >> 4 != 4 || (ip->version_length & 15) < 5)
		return pass(STEER_PASS_SHORT);
	if (ip->fragment & BE16(IPV4_MORE_OR_OFFSET))
		return piece4(ctx, ip, end);
	l4 = (void *)ip + (ip->version_length & 15) * 4;
	if (ip->protocol == PROTO_ICMP)
		return icmp(ctx, ip, l4, end);
	if (ip->protocol != PROTO_TCP && ip->protocol != PROTO_UDP)
		return pass(STEER_PASS_OTHER);
	if (ip->protocol == PROTO_UDP && __builtin_bswap16(ip->total_length) > DATAGRAM_MAX)
		return pass(STEER_PASS_FRAGMENT);
	if ((void *)(l4 + 1) > end)
		return pass(STEER_PASS_SHORT);
	mapped(key.local, ip->destination);
	mapped(key.remote, ip->source);
	key.protocol = ip->protocol;
	return transport(ctx, &key, l4, end);
}

/* Two programs of one body: a driver that cannot do multi-buffer XDP refuses the one that says it can. */
SEC("xdp.frags")
int steer_frags(struct xdp_md *ctx)
{
	return steer(ctx);
}

SEC("xdp")
int steer_linear(struct xdp_md *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
