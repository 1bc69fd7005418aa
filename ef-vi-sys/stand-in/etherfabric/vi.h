/* Stand-in: virtual interfaces and filters. See ef_vi.h. */
#ifndef STAND_IN_VI_H
#define STAND_IN_VI_H

#include <etherfabric/base.h>

struct ef_pd;
struct in6_addr;

/* A capacity of 0 is none, of -1 the adapter's choice. */
extern int ef_vi_alloc_from_pd(ef_vi*, ef_driver_handle, struct ef_pd*, ef_driver_handle pd_dh, int evq_capacity,
                               int rxq_capacity, int txq_capacity, ef_vi* evq_opt, ef_driver_handle evq_dh,
                               enum ef_vi_flags);
extern int ef_vi_free(ef_vi*, ef_driver_handle);
extern unsigned ef_vi_mtu(ef_vi*, ef_driver_handle);
extern int ef_vi_get_mac(ef_vi*, ef_driver_handle, void* mac_out);
/* From now on the handle becomes readable when there is an event beyond `current_ptr`. Once. */
extern int ef_vi_prime(ef_vi*, ef_driver_handle, unsigned current_ptr);

enum ef_filter_flags {
  EF_FILTER_FLAG_NONE = 0x0,
  EF_FILTER_FLAG_MCAST_LOOP_RECEIVE = 0x2,
};

enum {
  EF_FILTER_VLAN_ID_ANY = -1,
};

typedef struct {
  unsigned type;
  unsigned flags;
  unsigned data[12];
} ef_filter_spec;

typedef struct {
  int filter_id;
  int filter_type;
} ef_filter_cookie;

extern void ef_filter_spec_init(ef_filter_spec*, enum ef_filter_flags);
extern int ef_filter_spec_set_ip4_local(ef_filter_spec*, int protocol, unsigned host_be32, int port_be16);
extern int ef_filter_spec_set_ip4_full(ef_filter_spec*, int protocol, unsigned host_be32, int port_be16,
                                       unsigned rhost_be32, int rport_be16);
extern int ef_filter_spec_set_ip6_local(ef_filter_spec*, int protocol, const struct in6_addr*, int port_be16);
extern int ef_filter_spec_set_ip6_full(ef_filter_spec*, int protocol, const struct in6_addr*, int port_be16,
                                       const struct in6_addr*, int rport_be16);
extern int ef_filter_spec_set_eth_local(ef_filter_spec*, int vlan_id, const void* mac);
extern int ef_vi_filter_add(ef_vi*, ef_driver_handle, const ef_filter_spec*, ef_filter_cookie* filter_cookie_out);
extern int ef_vi_filter_del(ef_vi*, ef_driver_handle, ef_filter_cookie*);

#endif
