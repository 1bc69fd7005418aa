/* Stand-in: memory on the adapter, to send small frames from. See ef_vi.h. */
#ifndef STAND_IN_PIO_H
#define STAND_IN_PIO_H

#include <etherfabric/base.h>

#define EF_VI_CONFIG_PIO 1

struct ef_pd;

typedef struct ef_pio {
  uint8_t* pio_buffer;
  unsigned pio_resource_id;
  unsigned pio_len;
} ef_pio;

extern int ef_pio_alloc(ef_pio*, ef_driver_handle, struct ef_pd*, unsigned len_hint, ef_driver_handle pd_dh);
extern int ef_pio_free(ef_pio*, ef_driver_handle);
extern int ef_pio_link_vi(ef_pio*, ef_driver_handle, struct ef_vi*, ef_driver_handle vi_dh);
extern int ef_pio_unlink_vi(ef_pio*, ef_driver_handle, struct ef_vi*, ef_driver_handle vi_dh);

#endif
