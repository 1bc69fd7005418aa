/* Stand-in: the driver's handle. See ef_vi.h. */
#ifndef STAND_IN_BASE_H
#define STAND_IN_BASE_H

#include <etherfabric/ef_vi.h>

#define EF_VI_NIC_PAGE_SHIFT 12
#define EF_VI_NIC_PAGE_SIZE (1 << EF_VI_NIC_PAGE_SHIFT)
#define EF_INVALID_ADDR ((ef_addr)-1)

extern int ef_driver_open(ef_driver_handle*);
extern int ef_driver_close(ef_driver_handle);

#endif
