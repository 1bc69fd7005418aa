/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Connections that the kernel has beside the stack's own. Part of steer.bpf.c. */

/* uapi/linux/bpf.h: as far as it is read. */
struct bpf_sock {
	u32 before[18];
	u32 state;
};

/* One of both forms, told apart by the size. */
struct tuple4 {
	u32 remote, local;
	u16 remote_port, local_port;
};
struct tuple6 {
	u32 remote[4], local[4];
	u16 remote_port, local_port;
};

static void (*sk_release)(struct bpf_sock *sk) = (void *)86;
static struct bpf_sock *(*sk_lookup_udp)(void *ctx, void *tuple, u32 size, u64 netns, u64 flags) = (void *)85;
static struct bpf_sock *(*skc_lookup_tcp)(void *ctx, void *tuple, u32 size, u64 netns, u64 flags) = (void *)99;
enum { CURRENT_NETNS = -1, ESTABLISHED = 1, LISTEN = 10 };

/* The two lookups answer with different kinds of sockets, which the verifier will not have read by one instruction. */
INLINE int has_connection(struct context *ctx, void *tuple, u32 size)
{
	struct bpf_sock *sk = skc_lookup_tcp(ctx, tuple, size, CURRENT_NETNS, 0);
	int has;

	if (!sk)
		return 0;
	has = *(volatile u32 *)&sk->state != LISTEN;
	sk_release(sk);
	return has;
}

INLINE int has_connected(struct context *ctx, void *tuple, u32 size)
{
	struct bpf_sock *sk = sk_lookup_udp(ctx, tuple, size, CURRENT_NETNS, 0);
	int has;

	if (!sk)
		return 0;
	has = *(volatile u32 *)&sk->state == ESTABLISHED;
	sk_release(sk);
	return has;
}

/* Whether the kernel has a connection, or one in the making, of this name: its listener took it before the stack
 * listened in its place, and it stays the kernel's to the end. Asked for segments that only their port brings here, so
 * once or twice for each connection. Of UDP: whether a socket of the kernel has connected to that peer. */
INLINE int is_the_kernels(struct context *ctx, const struct steer_flow *key)
{
	const u32 *local = (const u32 *)key->local, *remote = (const u32 *)key->remote;
	struct tuple6 long_tuple = { .remote_port = key->remote_port, .local_port = key->local_port };
	struct tuple4 short_tuple = { remote[3], local[3], key->remote_port, key->local_port };

	__builtin_memcpy(long_tuple.remote, remote, 16);
	__builtin_memcpy(long_tuple.local, local, 16);
	if (key->protocol == PROTO_UDP)
		return is_v4(key->local) ? has_connected(ctx, &short_tuple, sizeof(short_tuple)) :
					   has_connected(ctx, &long_tuple, sizeof(long_tuple));
	return is_v4(key->local) ? has_connection(ctx, &short_tuple, sizeof(short_tuple)) :
				   has_connection(ctx, &long_tuple, sizeof(long_tuple));
}
