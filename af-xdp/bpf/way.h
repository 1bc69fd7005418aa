/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two ways that packets come: from a driver, before the kernel has made anything of them (XDP), or from the kernel's
 * receive path, long ones whole (tc). What differs between them is here. Part of steer.bpf.c. */

#ifndef STEER_TC

/* The verifier knows what it is by this name. */
#define context xdp_md

struct context {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

enum { DROP = 1, PASS = 2 };

struct {
	UINT(type, MAP_XSK);
	UINT(max_entries, STEER_SLOTS * STEER_QUEUES);
	TYPE(key, u32);
	TYPE(value, u32);
} xsks SEC(".maps");

static long (*adjust_head)(struct context *ctx, int delta) = (void *)44;
static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

/* Sends the packet to a stack. PASS: there is no socket for it. */
INLINE int to_stack(struct context *ctx, u32 slot)
{
	if (ctx->rx_queue_index >= STEER_QUEUES)
		return PASS;
	return redirect_map(&xsks, (u64)slot * STEER_QUEUES + ctx->rx_queue_index, PASS);
}

/* Takes off a tag that tells a priority and no VLAN. */
INLINE void untag(struct context *ctx)
{
	u32 *words = (void *)(long)ctx->data;
	struct vlan_tag *tag = (void *)(words + 3);

	if ((void *)(tag + 1) > (void *)(long)ctx->data_end || tag->type != BE16(ETH_VLAN) || tag->tci & BE16(VLAN_ID))
		return;
	/* The addresses take its place. */
	words[3] = words[2];
	words[2] = words[1];
	words[1] = words[0];
	adjust_head(ctx, sizeof(struct vlan_tag));
}

INLINE u32 bytes_of(const struct context *ctx)
{
	return ctx->data_end - ctx->data;
}

/* Whether the kernel cuts the packet into those that it was joined of, before a stack has it. */
INLINE int is_cut(const struct context *ctx)
{
	(void)ctx;
	return 0;
}

/* Whether the headers can be read, and there is no more in front of them than the link's. */
INLINE int is_plain(struct context *ctx)
{
	(void)ctx;
	return 1;
}

#else

#define context __sk_buff

struct context {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 tc_index;
	u32 cb[5];
	u32 hash;
	u32 tc_classid;
	u32 data;
	u32 data_end;
	u32 between[20];
	u32 gso_segs;
	u32 between_too[2];
	u32 gso_size;
};

/* TCX_NEXT: who else is attached is asked, too. */
enum { DROP = 2, PASS = -1 };

/* The device whose queue of the stack's number hears it. Frozen when it is written. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STEER_SLOTS);
	TYPE(key, u32);
	TYPE(value, u32);
} xsks SEC(".maps");

static long (*vlan_pop)(struct context *ctx) = (void *)19;
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*pull_data)(struct context *ctx, u32 len) = (void *)39;

/* What leads to that device and was not sent there by the kernel has this mark, and the stack's number. */
enum { MARK = 0x52520000, MARKED = 0xffff0000 };

INLINE int to_stack(struct context *ctx, u32 slot)
{
	u32 *device = map_lookup(&xsks, &slot);

	if (!device || !*device)
		return PASS;
	ctx->mark = MARK | slot;
	return redirect(*device, 0);
}

INLINE void untag(struct context *ctx)
{
	if (ctx->vlan_present)
		vlan_pop(ctx);
}

INLINE u32 bytes_of(const struct context *ctx)
{
	return ctx->len;
}

/* Of TCP the device takes them whole; of datagrams it does not. */
INLINE int is_cut(const struct context *ctx)
{
	return ctx->gso_size != 0;
}

/* Headers may lie apart, as far as those of the link and of an ICMPv6 error go, to the ports that it quotes. A tag has been
 * taken out of the frame; all but a priority make it a VLAN's. */
INLINE int is_plain(struct context *ctx)
{
	u32 headers = 14 + 40 + 8 + 40 + 8;

	if (ctx->vlan_present && ctx->vlan_tci & VLAN_ID)
		return 0;
	if (ctx->data_end - ctx->data < headers && ctx->data_end - ctx->data < ctx->len)
		pull_data(ctx, ctx->len < headers ? ctx->len : headers);
	return 1;
}

/* On the device: which queue hears it. */
SEC("socket")
int queue_of(struct context *ctx)
{
	return ctx->mark & ~MARKED;
}

/* What else the kernel sends there (router solicitations, reports of groups) nobody has asked for. */
SEC("socket")
int is_led(struct context *ctx)
{
	return (ctx->mark & MARKED) == MARK ? ctx->len : 0;
}

#endif
