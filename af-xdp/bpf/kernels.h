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
static struct bpf_sock *(*skc_lookup_tcp)(void *ctx, void *tuple, u32 size, u64 netns, u64 flags) = (void *)99;
enum { CURRENT_NETNS = -1, LISTEN = 10 };

/* Whether the kernel has a connection, or one in the making, of this name: its listener took it before the stack
 * listened in its place, and it stays the kernel's to the end. Asked for segments that only their port brings here, so
 * once or twice for each connection. */
INLINE int is_the_kernels(struct xdp_md *ctx, const struct steer_flow *key)
{
	const u32 *local = (const u32 *)key->local, *remote = (const u32 *)key->remote;
	struct bpf_sock *sk;
	u32 state;

	if (!local[0] && !local[1] && local[2] == __builtin_bswap32(0xffff)) {
		struct tuple4 tuple = { remote[3], local[3], key->remote_port, key->local_port };

		sk = skc_lookup_tcp(ctx, &tuple, sizeof(tuple), CURRENT_NETNS, 0);
	} else {
		struct tuple6 tuple = { .remote_port = key->remote_port, .local_port = key->local_port };

		__builtin_memcpy(tuple.remote, remote, 16);
		__builtin_memcpy(tuple.local, local, 16);
		sk = skc_lookup_tcp(ctx, &tuple, sizeof(tuple), CURRENT_NETNS, 0);
	}
	if (!sk)
		return 0;
	state = sk->state;
	sk_release(sk);
	return state != LISTEN;
}
