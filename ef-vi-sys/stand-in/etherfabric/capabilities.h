/* Stand-in: what an adapter can do. See ef_vi.h. */
#ifndef STAND_IN_CAPABILITIES_H
#define STAND_IN_CAPABILITIES_H

#include <etherfabric/base.h>

enum ef_vi_capability {
  EF_VI_CAP_PIO = 0,
  EF_VI_CAP_PIO_BUFFER_SIZE,
  EF_VI_CAP_RXQ_SIZES,
  EF_VI_CAP_TXQ_SIZES,
  EF_VI_CAP_EVQ_SIZES,
  EF_VI_CAP_CTPIO,
  EF_VI_CAP_RX_FORCE_EVENT_MERGING,
  EF_VI_CAP_MAX,
};

extern int ef_vi_capabilities_get(ef_driver_handle, int ifindex, enum ef_vi_capability, unsigned long* value);

#endif
