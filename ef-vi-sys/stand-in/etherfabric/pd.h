/* Stand-in: protection domains. See ef_vi.h. */
#ifndef STAND_IN_PD_H
#define STAND_IN_PD_H

#include <etherfabric/base.h>

enum ef_pd_flags {
  EF_PD_DEFAULT = 0x0,
  EF_PD_VF = 0x1,
  EF_PD_PHYS_MODE = 0x2,
};

typedef struct ef_pd {
  unsigned pd_resource_id;
  struct stand_in_pd* adapter;
} ef_pd;

/* The stand-in's names are those of interfaces, or `memory:WIRE:0` and `memory:WIRE:1`, the ends of a wire in memory;
 * in front of them may stand what adapter it is to be: `x2@`, `sfn7@` or `x3@`. */
extern int ef_pd_alloc_by_name(ef_pd*, ef_driver_handle, const char* cluster_or_intf_name, enum ef_pd_flags);
extern const char* ef_pd_interface_name(ef_pd*);
extern int ef_pd_free(ef_pd*, ef_driver_handle);

#endif
