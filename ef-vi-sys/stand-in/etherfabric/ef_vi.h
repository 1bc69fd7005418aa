/* Stand-in: an event queue, two rings, and what is done with them. Names, signatures and meaning are those of ef_vi's
 * public interface, as far as Ringroad calls it; layouts are our own, as they are each release's own. */
#ifndef STAND_IN_EF_VI_H
#define STAND_IN_EF_VI_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

typedef int ef_driver_handle;
typedef uint32_t ef_eventq_ptr;
/* An address as the adapter knows it; no pointer of this process. */
typedef uint64_t ef_addr;
typedef int ef_request_id;

#define EF_REQUEST_ID_MASK 0xffffffff
#define EF_VI_DMA_ALIGN 64
/* The fewest events that may be asked for. */
#define EF_VI_EVENT_POLL_MIN_EVS 2
/* The most transmissions that one event tells of. */
#define EF_VI_TRANSMIT_BATCH 64
/* For ef_vi_transmit_ctpio: nothing is sent before all of it has come. */
#define EF_VI_CTPIO_CT_THRESHOLD_SNF 0xffff

struct ef_vi;

/* Events. */

enum {
  EF_EVENT_TYPE_RX,
  EF_EVENT_TYPE_TX,
  EF_EVENT_TYPE_RX_DISCARD,
  EF_EVENT_TYPE_TX_ERROR,
  EF_EVENT_TYPE_RX_NO_DESC_TRUNC,
  EF_EVENT_TYPE_SW,
  EF_EVENT_TYPE_OFLOW,
  EF_EVENT_TYPE_TX_WITH_TIMESTAMP,
  EF_EVENT_TYPE_RX_PACKED_STREAM,
  EF_EVENT_TYPE_RX_MULTI,
  EF_EVENT_TYPE_TX_ALT,
  EF_EVENT_TYPE_RX_MULTI_DISCARD,
  EF_EVENT_TYPE_RESET,
  EF_EVENT_TYPE_MEMCPY,
  EF_EVENT_TYPE_RX_MULTI_PKTS,
  EF_EVENT_TYPE_RX_REF,
  EF_EVENT_TYPE_RX_REF_DISCARD,
};

enum {
  EF_EVENT_RX_DISCARD_CSUM_BAD,
  EF_EVENT_RX_DISCARD_MCAST_MISMATCH,
  EF_EVENT_RX_DISCARD_CRC_BAD,
  EF_EVENT_RX_DISCARD_TRUNC,
  EF_EVENT_RX_DISCARD_RIGHTS,
  EF_EVENT_RX_DISCARD_EV_ERROR,
  EF_EVENT_RX_DISCARD_OTHER,
  EF_EVENT_RX_DISCARD_INNER_CSUM_BAD,
  EF_EVENT_RX_DISCARD_MAX,
};

enum {
  EF_EVENT_TX_ERROR_RIGHTS,
  EF_EVENT_TX_ERROR_OFLOW,
  EF_EVENT_TX_ERROR_2BIG,
  EF_EVENT_TX_ERROR_BUS,
};

#define EF_EVENT_FLAG_SOP 0x1
#define EF_EVENT_FLAG_CONT 0x2
#define EF_EVENT_FLAG_MULTICAST 0x8
#define EF_EVENT_FLAG_CTPIO 0x1

typedef union {
  struct {
    uint16_t type;
  } generic;
  struct {
    uint16_t type, q_id, len, flags, subtype;
    uint32_t rq_id;
  } rx, rx_discard;
  struct {
    uint16_t type, q_id, flags, desc_id, subtype;
  } tx, tx_error;
  struct {
    uint16_t type, len, q_id, filter_id, user, flags;
    uint32_t pkt_id;
  } rx_ref, rx_ref_discard;
} ef_event;

#define EF_EVENT_TYPE(e) ((e).generic.type)
#define EF_EVENT_RX_BYTES(e) ((e).rx.len)
#define EF_EVENT_RX_Q_ID(e) ((e).rx.q_id)
#define EF_EVENT_RX_RQ_ID(e) ((e).rx.rq_id)
#define EF_EVENT_RX_CONT(e) ((e).rx.flags & EF_EVENT_FLAG_CONT)
#define EF_EVENT_RX_SOP(e) ((e).rx.flags & EF_EVENT_FLAG_SOP)
#define EF_EVENT_RX_DISCARD_Q_ID(e) ((e).rx_discard.q_id)
#define EF_EVENT_RX_DISCARD_RQ_ID(e) ((e).rx_discard.rq_id)
#define EF_EVENT_RX_DISCARD_CONT(e) ((e).rx_discard.flags & EF_EVENT_FLAG_CONT)
#define EF_EVENT_RX_DISCARD_SOP(e) ((e).rx_discard.flags & EF_EVENT_FLAG_SOP)
#define EF_EVENT_RX_DISCARD_TYPE(e) ((e).rx_discard.subtype)
#define EF_EVENT_RX_DISCARD_BYTES(e) ((e).rx_discard.len)
#define EF_EVENT_TX_Q_ID(e) ((e).tx.q_id)
#define EF_EVENT_TX_CTPIO(e) ((e).tx.flags & EF_EVENT_FLAG_CTPIO)
#define EF_EVENT_TX_ERROR_Q_ID(e) ((e).tx_error.q_id)
#define EF_EVENT_TX_ERROR_TYPE(e) ((e).tx_error.subtype)

/* What a virtual interface is asked for. */

enum ef_vi_flags {
  EF_VI_FLAGS_DEFAULT = 0x0,
  EF_VI_TX_IP_CSUM_DIS = 0x80,
  EF_VI_TX_TCPUDP_CSUM_DIS = 0x100,
  EF_VI_RX_TIMESTAMPS = 0x10000,
  EF_VI_TX_TIMESTAMPS = 0x20000,
  EF_VI_RX_EVENT_MERGE = 0x200000,
  EF_VI_TX_CTPIO = 0x1000000,
  EF_VI_TX_CTPIO_NO_POISON = 0x2000000,
};

enum ef_vi_rx_discard_err_flags {
  EF_VI_DISCARD_RX_L4_CSUM_ERR = 0x1,
  EF_VI_DISCARD_RX_L3_CSUM_ERR = 0x2,
  EF_VI_DISCARD_RX_ETH_FCS_ERR = 0x4,
  EF_VI_DISCARD_RX_ETH_LEN_ERR = 0x8,
};

enum ef_vi_arch {
  EF_VI_ARCH_FALCON,
  EF_VI_ARCH_EF10,
  EF_VI_ARCH_EF100,
  EF_VI_ARCH_EFCT,
  EF_VI_ARCH_AF_XDP,
};

#define EF_VI_SYNC_FLAG_CLOCK_SET 1
#define EF_VI_SYNC_FLAG_CLOCK_IN_SYNC 2

typedef struct {
  ef_addr iov_base;
  unsigned iov_len;
} ef_iovec;

#define ef_timespec struct timespec

struct ef_vi_nic_type {
  unsigned char arch;
  char variant;
  unsigned char revision;
  unsigned char nic_flags;
};

/* How full a ring is: slots taken by the caller and given back to him. */
struct stand_in_ring {
  uint32_t mask;
  uint32_t added;
  uint32_t removed;
};

typedef struct ef_vi {
  struct ef_vi_nic_type nic_type;
  unsigned vi_resource_id;
  enum ef_vi_flags vi_flags;
  unsigned rx_buffer_len;
  unsigned rx_prefix_len;
  struct stand_in_ring rxq, txq;
  /* Bytes free in the FIFO of an adapter that sends by that alone. */
  int fifo;
  ef_eventq_ptr evq_ptr;
  /* The adapter's side. */
  struct stand_in_vi* adapter;
  /* What a driver may do otherwise than another is called through these. */
  struct {
    int (*transmit)(struct ef_vi*, ef_addr, int len, ef_request_id);
    int (*transmitv)(struct ef_vi*, const ef_iovec*, int iov_len, ef_request_id);
    int (*transmitv_init)(struct ef_vi*, const ef_iovec*, int iov_len, ef_request_id);
    void (*transmit_push)(struct ef_vi*);
    int (*transmit_copy_pio)(struct ef_vi*, int pio_offset, const void*, int len, ef_request_id);
    void (*transmitv_ctpio)(struct ef_vi*, size_t frame_len, const struct iovec*, int iov_len, unsigned threshold);
    int (*transmit_ctpio_fallback)(struct ef_vi*, ef_addr, size_t len, ef_request_id);
    int (*receive_set_discards)(struct ef_vi*, unsigned);
    uint64_t (*receive_get_discards)(struct ef_vi*);
    int (*receive_init)(struct ef_vi*, ef_addr, ef_request_id);
    void (*receive_push)(struct ef_vi*);
    int (*eventq_poll)(struct ef_vi*, ef_event*, int evs_len);
  } ops;
} ef_vi;

extern const char* ef_vi_version_str(void);

static inline unsigned ef_vi_resource_id(ef_vi* vi) { return vi->vi_resource_id; }
static inline enum ef_vi_flags ef_vi_flags(ef_vi* vi) { return vi->vi_flags; }

/* Receiving. */

static inline int ef_vi_receive_prefix_len(const ef_vi* vi) { return (int)vi->rx_prefix_len; }
static inline int ef_vi_receive_buffer_len(const ef_vi* vi) { return (int)vi->rx_buffer_len; }
static inline void ef_vi_receive_set_buffer_len(ef_vi* vi, unsigned bytes) { vi->rx_buffer_len = bytes; }
static inline int ef_vi_receive_fill_level(const ef_vi* vi) { return (int)(vi->rxq.added - vi->rxq.removed); }
static inline int ef_vi_receive_capacity(const ef_vi* vi) { return (int)vi->rxq.mask; }
static inline int ef_vi_receive_space(const ef_vi* vi)
{
  return ef_vi_receive_capacity(vi) - ef_vi_receive_fill_level(vi);
}

#define ef_vi_receive_init(vi, addr, dma_id) (vi)->ops.receive_init((vi), (addr), (dma_id))
/* Tells the adapter of descriptors, eight at a time; what is left over waits for the next call. */
#define ef_vi_receive_push(vi) (vi)->ops.receive_push((vi))
#define ef_vi_receive_set_discards(vi, flags) (vi)->ops.receive_set_discards((vi), (flags))
#define ef_vi_receive_get_discards(vi) (vi)->ops.receive_get_discards((vi))
extern int ef_vi_receive_get_timestamp_with_sync_flags(ef_vi*, const void* pkt, ef_timespec*, unsigned* flags);

/* Sending. */

static inline int ef_vi_transmit_fill_level(const ef_vi* vi) { return (int)(vi->txq.added - vi->txq.removed); }
static inline int ef_vi_transmit_capacity(const ef_vi* vi) { return (int)vi->txq.mask; }
static inline int ef_vi_transmit_space(const ef_vi* vi)
{
  return ef_vi_transmit_capacity(vi) - ef_vi_transmit_fill_level(vi);
}
static inline int ef_vi_transmit_space_bytes(const ef_vi* vi) { return vi->fifo; }

extern int ef_vi_transmit_init(ef_vi*, ef_addr, int bytes, ef_request_id);
#define ef_vi_transmitv_init(vi, iov, iov_len, dma_id) (vi)->ops.transmitv_init((vi), (iov), (iov_len), (dma_id))
/* Not without a descriptor that was initialised since the last call. */
#define ef_vi_transmit_push(vi) (vi)->ops.transmit_push((vi))
#define ef_vi_transmit(vi, base, len, dma_id) (vi)->ops.transmit((vi), (base), (len), (dma_id))
#define ef_vi_transmitv(vi, iov, iov_len, dma_id) (vi)->ops.transmitv((vi), (iov), (iov_len), (dma_id))
#define ef_vi_transmit_copy_pio(vi, offset, src, len, dma_id) \
  (vi)->ops.transmit_copy_pio((vi), (offset), (src), (len), (dma_id))
#define ef_vi_transmitv_ctpio(vi, len, iov, iov_len, threshold) \
  (vi)->ops.transmitv_ctpio((vi), (len), (iov), (iov_len), (threshold))
/* To follow a frame that was sent by CTPIO, before any other is sent: sends it where that has failed. */
#define ef_vi_transmit_ctpio_fallback(vi, addr, len, dma_id) \
  (vi)->ops.transmit_ctpio_fallback((vi), (addr), (len), (dma_id))
static inline void ef_vi_transmit_ctpio(ef_vi* vi, const void* frame, size_t len, unsigned threshold)
{
  struct iovec iov = {(void*)frame, len};
  ef_vi_transmitv_ctpio(vi, len, &iov, 1, threshold);
}
extern int ef_vi_transmit_unbundle(ef_vi*, const ef_event*, ef_request_id* ids);

/* Events. */

#define ef_eventq_poll(evq, evs, evs_len) (evq)->ops.eventq_poll((evq), (evs), (evs_len))
static inline unsigned ef_eventq_current(ef_vi* vi) { return vi->evq_ptr; }

#endif
