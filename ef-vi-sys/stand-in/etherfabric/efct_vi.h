/* Stand-in: frames received into memory of the adapter's own choice. See ef_vi.h. */
#ifndef STAND_IN_EFCT_VI_H
#define STAND_IN_EFCT_VI_H

#include <etherfabric/ef_vi.h>

/* The frame of an event RX_REF or RX_REF_DISCARD, until it is released. */
extern const void* efct_vi_rxpkt_get(struct ef_vi*, uint32_t pkt_id);
extern int efct_vi_rxpkt_get_timestamp(struct ef_vi*, uint32_t pkt_id, ef_timespec*, unsigned* flags);
extern void efct_vi_rxpkt_release(struct ef_vi*, uint32_t pkt_id);

#endif
