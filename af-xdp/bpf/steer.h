/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the steering program and its user agree on: map keys, slots, counters. `src/steer/keys.rs` mirrors it. */
#ifndef RINGROAD_STEER_H
#define RINGROAD_STEER_H

/* Index into the XSKMAP: slot * STEER_QUEUES + rx queue. An xsk receives only from the queue it is bound to. */
#define STEER_SLOTS 64
#define STEER_QUEUES 64

#define STEER_FLOWS_MAX 262144
#define STEER_PORTS_MAX 65536
/* TCP segments in pieces that are under way at once. */
#define STEER_PACKETS 1024
/* Groups of stacks that share local endpoints. */
#define STEER_GROUPS 4096
/* A group's flows by hash. */
#define STEER_BUCKETS 64
#define STEER_NOBODY 0xff
/* Flows in the directory: the default, a power of two. */
#define STEER_DIRECTORY 65536
/* Places that a flow may have in the directory, one behind the other. */
#define STEER_WAYS 4

/* SYNs that are remembered, so that they are known when they come again; a power of two. */
#define STEER_SHED (1 << 20)

/* Addresses take 16 bytes; IPv4 is v4-mapped (::ffff:a.b.c.d). Ports are in network order. */
struct steer_flow {
	unsigned char local[16];
	unsigned char remote[16];
	unsigned short local_port;
	unsigned short remote_port;
	unsigned char protocol;
	/* In the directory: whose it is, and STEER_LIVE once all of it is written. In a key: zero. */
	unsigned char slot;
	unsigned char live;
	unsigned char zero;
} __attribute__((aligned(8)));

#define STEER_LIVE 1

struct steer_port_key {
	unsigned char local[16];
	unsigned short port;
	unsigned char protocol;
	unsigned char zero;
};

/* The stacks that hear a local endpoint, a bit each, and whose the flows of each bucket are. */
struct steer_group {
	unsigned long long members;
	unsigned char bucket[STEER_BUCKETS];
};

struct steer_config {
	/* Nobody outside shall choose places in the directory. */
	unsigned long long seed;
	/* Zero, or one more than the slot of who changes groups. */
	unsigned long long lock;
	/* Flows in the directory, less one. */
	unsigned int mask;
	/* Flows that found no place in it, ever: they are in the map of flows. */
	unsigned int overflow;
};

/* What may be steered at all: set when the program is loaded, and nobody who drives the port holds this map. */
#define STEER_LIMITS 16
struct steer_limits {
	/* Local addresses and ranges of local ports (host order) that count; none: all do. */
	unsigned int addresses;
	unsigned int ports;
	unsigned char address[STEER_LIMITS][16];
	unsigned short first[STEER_LIMITS];
	unsigned short last[STEER_LIMITS];
};

/* How many connection requests a stack can take, so that a flood of them takes a share of its time and of its rings,
 * and not all. The difference counts: the stack grants more at each of its turns. */
struct steer_credit {
	/* By the stack: SYNs that it was ever ready for. Zero: it does not count them, all pass. */
	unsigned long long granted;
	/* How many it is ready for at once; the last quarter is for SYNs that come again. */
	unsigned long long most;
	unsigned long long apart[6];
	/* By the program: SYNs that ever passed, or were too many to count. */
	unsigned long long passed;
	/* SYNs dropped. */
	unsigned long long shed;
	unsigned long long apart_too[6];
};

enum steer_counter {
	STEER_FLOW,         /* redirected: exact flow */
	STEER_PORT,         /* redirected: local address and port */
	STEER_PIECE,        /* redirected: piece of a TCP segment */
	STEER_ICMP,         /* redirected: ICMP error that embeds a packet of ours */
	STEER_PASS_MISS,    /* TCP or UDP that nobody asked for */
	STEER_PASS_OTHER,   /* neither TCP nor UDP nor an ICMP error of ours */
	STEER_PASS_LINK,    /* not IP: ARP, VLAN, ... */
	STEER_PASS_FRAGMENT, /* pieces, and datagrams that fit no frame */
	STEER_PASS_SHORT,   /* cut off, or a header that contradicts itself */
	STEER_PASS_NO_XSK,  /* steered, but no socket sits in the slot for this queue */
	STEER_SHED_SYN,     /* dropped: a SYN to a stack that has too many of them */
	STEER_PASS_KERNELS, /* a connection that the kernel took before the stack listened */
	STEER_COUNTERS,
};

struct steer_counts {
	unsigned long long of[STEER_COUNTERS];
};

#endif
