/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the steering program and its user agree on: map keys, slots, counters. `src/steer/keys.rs` mirrors it. */
#ifndef RINGROAD_STEER_H
#define RINGROAD_STEER_H

/* Index into the XSKMAP: slot * STEER_QUEUES + rx queue. An xsk receives only from the queue it is bound to. */
#define STEER_SLOTS 252
#define STEER_QUEUES 64

#define STEER_FLOWS_MAX 262144
#define STEER_PORTS_MAX 65536
/* Addresses that live on VLANs of the interface. */
#define STEER_TAGGED_MAX 4096
/* TCP segments in pieces that are under way at once. */
#define STEER_PACKETS 1024
/* Groups of stacks that share local endpoints. */
#define STEER_GROUPS 4096
/* A group's flows by hash. */
#define STEER_BUCKETS 256
#define STEER_NOBODY 0xff
/* Flows in the directory: the default, a power of two. */
#define STEER_DIRECTORY 65536
/* Places that a flow may have in the directory, one behind the other. */
#define STEER_WAYS 4

/* SYNs that are remembered, so that they are known when they come again; a power of two. */
#define STEER_SHED (1 << 20)

/* What the program itself carries out of a policy (guard.h). There are two banks of it: one in force, one in the
 * making. */
#define STEER_TABLES 256
/* Rules of a table for what comes in, as bits of so many words. */
#define STEER_WORDS 16
/* Different sets of rules that match an address, a port or a protocol; the first of a bank is empty. */
#define STEER_CLASSES 4096
/* Addresses, prefixes and blocks of ports, in both banks together. */
#define STEER_PLACES (1 << 19)
/* Rules of a bank that have a count of their own. */
#define STEER_TALLIES 16384
#define STEER_UNTALLIED 0xffffffff
/* Packets kept out that wait to be told of; a power of two. */
#define STEER_ALARMS 1024
/* In the place of a slot, of a packet in pieces: they are the kernel's. (STEER_NOBODY: they are dropped.) */
#define STEER_KERNEL 0xfe

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
	unsigned long long members[4];
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
	/* The number of the guard in force, whose lowest bit is its bank; zero: none is. */
	unsigned int guard;
	/* The highest number there was. */
	unsigned int guards;
	/* Of what the guard was made. */
	unsigned long long guard_mark;
	/* Whether addresses live on VLANs, or ever did. */
	unsigned long long tagged;
};

enum steer_kind {
	STEER_LOCAL,        /* an address of the host, to the number of its table */
	STEER_REMOTE4,      /* prefixes and blocks of ports, to their class */
	STEER_REMOTE6,
	STEER_LOCAL_PORT,
	STEER_REMOTE_PORT,
	STEER_ICMP_TYPE,    /* type and code, as one number */
};

/* Key of the trie of places: what comes after `len`, in bits, counts. The kind comes first, so that the host's own
 * addresses come before all else when the trie is walked. */
struct steer_place {
	unsigned int len;
	unsigned char kind;
	unsigned char bank;
	unsigned char table;
	unsigned char zero;
	unsigned char data[16];
};

/* A set of rules, a bit each: the lowest comes first in its table. */
struct steer_class {
	unsigned long long of[STEER_WORDS];
};

enum steer_table_flag {
	STEER_CLOAK = 1,    /* what no stack has asked for is judged before the kernel sees it */
	STEER_OFFLOAD = 2,  /* what a port leads to a stack is judged, too */
	STEER_UDP_OUT = 4,  /* it permits datagrams to others: what comes to a socket may be a reply */
	STEER_MONITOR = 8,  /* what it denies is counted and told of, and passes */
};

struct steer_table {
	unsigned int flags;
	/* Classes: the rules that permit; those for TCP, UDP, ICMP and ICMPv6. */
	unsigned int allow;
	unsigned int protocol[4];
	/* Where in their bank the tallies of its rules begin, or STEER_UNTALLIED. */
	unsigned int tallies;
	unsigned int zero;
	/* Kept out by the program, or would be. */
	unsigned long long packets;
	unsigned long long bytes;
};

/* Of these, what one rule decided. */
struct steer_tally {
	unsigned long long packets;
	unsigned long long bytes;
};

/* A packet that is judged; kept as one that was kept out, or would be. */
struct steer_alarm {
	/* Of ICMP, `local_port` is type and code. */
	struct steer_flow flow;
	/* The guard, the table, and the bit of the rule that decided, or STEER_NO_RULE. */
	unsigned int guard;
	unsigned int rule;
	unsigned short table;
	unsigned char table_flags;
	unsigned char tcp_flags;
	/* The packet's VLAN; none: 0. Not told. */
	unsigned int vlan;
	/* One more than its place among all there were; in the making: zero. */
	unsigned long long number;
};

#define STEER_NO_RULE 0xffffffff
/* No segment has all of them: of a piece they are not looked for. */
#define STEER_FLAGS_UNKNOWN 0xff

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
	STEER_PASS_LINK,    /* not IP: ARP, two VLAN tags, ... */
	STEER_PASS_FRAGMENT, /* pieces, and datagrams that fit no frame */
	STEER_PASS_SHORT,   /* cut off, or a header that contradicts itself */
	STEER_PASS_NO_XSK,  /* steered, but no socket sits in the slot for this queue */
	STEER_SHED_SYN,     /* dropped: a SYN to a stack that has too many of them */
	STEER_PASS_KERNELS, /* a connection that the kernel took before the stack listened */
	STEER_DROP_CLOAKED, /* dropped: to a cloaked address that does not know the sender */
	STEER_DROP_DENIED,  /* dropped: denied by a table that the program carries out */
	STEER_MISS_VLAN,    /* of those passed: whose tag is not that of the VLAN that has their address */
	STEER_MONITORED,    /* of those passed: denied by a table that only monitors */
	STEER_COUNTERS,
};

struct steer_counts {
	unsigned long long of[STEER_COUNTERS];
};

#endif
