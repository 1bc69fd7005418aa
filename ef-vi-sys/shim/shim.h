/* What ef_vi's headers have as macros and as functions of theirs, as functions that can be bound. */
#ifndef RINGROAD_EF_VI_SHIM_H
#define RINGROAD_EF_VI_SHIM_H

#include <etherfabric/efct_vi.h>
#include <etherfabric/memreg.h>
#include <etherfabric/vi.h>

enum ringroad_ef_kind {
  /* A posted buffer was filled: `id`, `len` (with the prefix), `part`. */
  RINGROAD_EF_RX,
  /* The same, and something is wrong with it: `reason`, EF_EVENT_RX_DISCARD_*. */
  RINGROAD_EF_RX_DISCARD,
  /* A frame is in a superbuffer: `id` of the packet, `len`. */
  RINGROAD_EF_RX_REF,
  /* The same, and something is wrong with it: `reason`, EF_VI_DISCARD_RX_*. */
  RINGROAD_EF_RX_REF_DISCARD,
  /* Frames were sent: to be unbundled; `ctpio`. */
  RINGROAD_EF_TX,
  /* A frame was not: to be unbundled; `reason`. */
  RINGROAD_EF_TX_ERROR,
  /* A frame was cut, for want of buffers. */
  RINGROAD_EF_RX_TRUNCATED,
  /* Nothing more will come. */
  RINGROAD_EF_HALTED,
  /* What was not asked for. */
  RINGROAD_EF_OTHER,
};

struct ringroad_ef_event {
  uint32_t kind;
  uint32_t id;
  uint32_t len;
  uint32_t reason;
  /* The buffer is a part of a frame, and not all of it. */
  uint8_t part;
  uint8_t ctpio;
};

/* Polls for up to `len` events: as they are, and what they mean. */
int ringroad_ef_poll(ef_vi*, ef_event*, struct ringroad_ef_event*, int len);
unsigned ringroad_ef_current(ef_vi*);
ef_addr ringroad_ef_dma_addr(ef_memreg*, size_t offset);
/* Whether the adapter receives into memory of its own choice, and sends without DMA: X3, X4. */
int ringroad_ef_has_superbuffers(const ef_vi*);

int ringroad_ef_receive_prefix_len(const ef_vi*);
void ringroad_ef_receive_set_buffer_len(ef_vi*, unsigned);
int ringroad_ef_receive_space(const ef_vi*);
int ringroad_ef_receive_capacity(const ef_vi*);
int ringroad_ef_receive_init(ef_vi*, ef_addr, ef_request_id);
void ringroad_ef_receive_push(ef_vi*);

int ringroad_ef_transmit_capacity(const ef_vi*);
int ringroad_ef_transmit(ef_vi*, ef_addr, int len, ef_request_id);
void ringroad_ef_transmit_push(ef_vi*);
int ringroad_ef_transmit_copy_pio(ef_vi*, int offset, const void*, int len, ef_request_id);
/* By CTPIO, stored before it is forwarded, and the fallback in one: 0 or -EAGAIN. */
int ringroad_ef_transmit_ctpio(ef_vi*, const void*, ef_addr, size_t len, ef_request_id);

#endif
