/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the steering program and its user agree on: map keys, slots, counters. `src/steer/keys.rs` mirrors it. */
#ifndef RINGROAD_STEER_H
#define RINGROAD_STEER_H

/* Index into the XSKMAP: slot * STEER_QUEUES + rx queue. An xsk receives only from the queue it is bound to. */
#define STEER_SLOTS 64
#define STEER_QUEUES 64

#define STEER_FLOWS_MAX 262144
#define STEER_PORTS_MAX 65536

/* Addresses take 16 bytes; IPv4 is v4-mapped (::ffff:a.b.c.d). Ports are in network order. */
struct steer_flow_key {
	unsigned char local[16];
	unsigned char remote[16];
	unsigned short local_port;
	unsigned short remote_port;
	unsigned char protocol;
	unsigned char zero[3];
};

struct steer_port_key {
	unsigned char local[16];
	unsigned short port;
	unsigned char protocol;
	unsigned char zero;
};

enum steer_counter {
	STEER_FLOW,         /* redirected: exact flow */
	STEER_PORT,         /* redirected: local address and port */
	STEER_ICMP,         /* redirected: ICMP error that embeds a packet of ours */
	STEER_PASS_MISS,    /* TCP or UDP that nobody asked for */
	STEER_PASS_OTHER,   /* neither TCP nor UDP nor an ICMP error of ours */
	STEER_PASS_LINK,    /* not IP: ARP, VLAN, ... */
	STEER_PASS_FRAGMENT,
	STEER_PASS_SHORT,   /* cut off, or a header that contradicts itself */
	STEER_PASS_NO_XSK,  /* steered, but no socket sits in the slot for this queue */
	STEER_COUNTERS,
};

struct steer_counts {
	unsigned long long of[STEER_COUNTERS];
};

#endif
