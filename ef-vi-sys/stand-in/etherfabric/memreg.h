/* Stand-in: memory that the adapter may reach. See ef_vi.h. */
#ifndef STAND_IN_MEMREG_H
#define STAND_IN_MEMREG_H

#include <etherfabric/base.h>

struct ef_pd;

typedef struct ef_memreg {
  /* The adapter's address of each page: no two neighbours are neighbours there. */
  ef_addr* mr_dma_addrs;
  struct stand_in_memory* adapter;
  struct stand_in_pd* adapter_pd;
} ef_memreg;

extern int ef_memreg_alloc(ef_memreg*, ef_driver_handle, struct ef_pd*, ef_driver_handle pd_dh, void*, size_t);
extern int ef_memreg_free(ef_memreg*, ef_driver_handle);

static inline ef_addr ef_memreg_dma_addr(ef_memreg* mr, size_t offset)
{
  return mr->mr_dma_addrs[offset >> EF_VI_NIC_PAGE_SHIFT] + (offset & (EF_VI_NIC_PAGE_SIZE - 1));
}

#endif
