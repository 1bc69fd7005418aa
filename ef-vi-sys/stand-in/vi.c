/* Virtual interfaces: made, primed, polled, freed. */
#include "adapter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_DEFAULT 512
#define RING_LEAST 64
#define RING_MOST 2048
#define PREFIX_LEN 14
#define BUFFER_LEN 2048
#define FIFO_LEN (16 << 10)
/* Bytes that an event takes in the queue, by which its pointer goes on. */
#define EVENT_BYTES 8

void stand_in_event(struct stand_in_vi* a, const ef_event* event)
{
  if (a->events_written - a->events_read > a->events_mask) {
    a->overflown = true;
    return;
  }
  a->events[a->events_written++ & a->events_mask] = *event;
  if (a->primed) {
    uint64_t one = 1;
    a->primed = write(a->bell, &one, sizeof(one)) != sizeof(one);
  }
}

int stand_in_poll(ef_vi* vi, ef_event* evs, int len)
{
  struct stand_in_vi* a = vi->adapter;
  if (len < EF_VI_EVENT_POLL_MIN_EVS) stand_in_misuse("ef_eventq_poll for %d events", len);
  int count = 0;
  if (a->overflown) {
    evs[count++] = (ef_event){.generic = {EF_EVENT_TYPE_OFLOW}};
    return count;
  }
  stand_in_send(vi);
  stand_in_tell(vi);
  stand_in_receive(vi);
  while (count < len && a->events_read != a->events_written) {
    evs[count] = a->events[a->events_read++ & a->events_mask];
    unsigned type = EF_EVENT_TYPE(evs[count]);
    if (type == EF_EVENT_TYPE_RX || type == EF_EVENT_TYPE_RX_DISCARD) vi->rxq.removed++;
    vi->evq_ptr += EVENT_BYTES;
    count++;
  }
  return count;
}

static int capacity(int asked)
{
  if (asked < 0) return RING_DEFAULT;
  return asked >= RING_LEAST && asked <= RING_MOST && (asked & (asked - 1)) == 0 ? asked : -EINVAL;
}

static void ops(ef_vi* vi)
{
  vi->ops.transmit = stand_in_transmit;
  vi->ops.transmitv = stand_in_transmitv;
  vi->ops.transmitv_init = stand_in_transmitv_init;
  vi->ops.transmit_push = stand_in_transmit_push;
  vi->ops.transmit_copy_pio = stand_in_transmit_copy_pio;
  vi->ops.transmitv_ctpio = stand_in_transmitv_ctpio;
  vi->ops.transmit_ctpio_fallback = stand_in_transmit_ctpio_fallback;
  vi->ops.receive_set_discards = stand_in_set_discards;
  vi->ops.receive_get_discards = stand_in_get_discards;
  vi->ops.receive_init = stand_in_receive_init;
  vi->ops.receive_push = stand_in_receive_push;
  vi->ops.eventq_poll = stand_in_poll;
}

static void release(struct stand_in_vi* a)
{
  if (a->bell >= 0) close(a->bell);
  free(a->events);
  free(a->rx);
  free(a->tx);
  free(a->superbuffers);
  free(a);
}

static int watch(struct stand_in_vi* a, int operation, int fd, uint32_t events)
{
  struct epoll_event event = {.events = events, .data.fd = fd};
  return epoll_ctl(a->dh, operation, fd, &event) ? -errno : 0;
}

static struct stand_in_vi* make(struct stand_in_pd* pd, ef_driver_handle dh, int events, int rx, int tx)
{
  struct stand_in_vi* a = calloc(1, sizeof(*a));
  if (!a) return NULL;
  a->pd = pd;
  a->dh = dh;
  a->events_mask = (uint32_t)events - 1;
  a->events = calloc((size_t)events, sizeof(*a->events));
  a->rx = calloc((size_t)rx, sizeof(*a->rx));
  a->tx = calloc((size_t)tx, sizeof(*a->tx));
  if (pd->model == MODEL_X3) a->superbuffers = calloc(SUPERBUFFERS, sizeof(*a->superbuffers));
  a->discards = EF_VI_DISCARD_RX_L3_CSUM_ERR | EF_VI_DISCARD_RX_L4_CSUM_ERR;
  a->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (!a->events || !a->rx || !a->tx || (pd->model == MODEL_X3 && !a->superbuffers) || a->bell < 0) {
    release(a);
    return NULL;
  }
  return a;
}

int ef_vi_alloc_from_pd(ef_vi* vi, ef_driver_handle dh, struct ef_pd* pd, ef_driver_handle pd_dh, int evq_capacity,
                        int rxq_capacity, int txq_capacity, ef_vi* evq_opt, ef_driver_handle evq_dh,
                        enum ef_vi_flags flags)
{
  (void)pd_dh;
  (void)evq_dh;
  int rx = capacity(rxq_capacity), tx = capacity(txq_capacity), events = 2;
  if (evq_opt || rx < 0 || tx < 0) return -EINVAL;
  if (flags & EF_VI_TX_CTPIO && pd->adapter->model == MODEL_SFN7) return -EOPNOTSUPP;
  int frames = pd->adapter->model == MODEL_X3 ? SUPERBUFFERS * SUPERBUFFER_FRAMES : rx;
  while (events < (evq_capacity < 0 ? frames + tx : evq_capacity)) events *= 2;
  struct stand_in_vi* a = make(pd->adapter, dh, events, rx, tx);
  if (!a) return -ENOMEM;
  int rc = stand_in_wire_open(&a->wire, pd->adapter->name);
  if (rc) {
    release(a);
    return rc;
  }
  memset(vi, 0, sizeof(*vi));
  vi->nic_type.arch = pd->adapter->model == MODEL_X3 ? EF_VI_ARCH_EFCT : EF_VI_ARCH_EF10;
  vi->vi_flags = flags;
  vi->rx_buffer_len = BUFFER_LEN;
  vi->rx_prefix_len = pd->adapter->model == MODEL_X3 ? 0 : PREFIX_LEN;
  vi->rxq.mask = (uint32_t)rx - 1;
  vi->txq.mask = (uint32_t)tx - 1;
  vi->fifo = pd->adapter->model == MODEL_X3 ? FIFO_LEN : 1 << 30;
  vi->adapter = a;
  ops(vi);
  // Asleep until it is primed.
  rc = watch(a, EPOLL_CTL_ADD, a->wire.fd, EPOLLONESHOT);
  if (rc == 0) rc = watch(a, EPOLL_CTL_ADD, a->bell, EPOLLONESHOT);
  if (rc) ef_vi_free(vi, dh);
  return rc;
}

int ef_vi_free(ef_vi* vi, ef_driver_handle dh)
{
  struct stand_in_vi* a = vi->adapter;
  (void)dh;
  if (a->pio) stand_in_misuse("a virtual interface is freed while a PIO region is linked to it");
  watch(a, EPOLL_CTL_DEL, a->wire.fd, 0);
  watch(a, EPOLL_CTL_DEL, a->bell, 0);
  stand_in_wire_close(&a->wire);
  release(a);
  memset(vi, 0, sizeof(*vi));
  return 0;
}

unsigned ef_vi_mtu(ef_vi* vi, ef_driver_handle dh)
{
  (void)dh;
  return vi->adapter->wire.mtu;
}

int ef_vi_get_mac(ef_vi* vi, ef_driver_handle dh, void* mac_out)
{
  (void)dh;
  memcpy(mac_out, vi->adapter->wire.mac, 6);
  return 0;
}

/* The handle is an epoll descriptor: it becomes readable once, by what is on the wire or by the bell. */
int ef_vi_prime(ef_vi* vi, ef_driver_handle dh, unsigned current_ptr)
{
  struct stand_in_vi* a = vi->adapter;
  struct epoll_event old[2];
  uint64_t rung;
  if (dh != a->dh) return -EINVAL;
  epoll_wait(a->dh, old, 2, 0);
  if (read(a->bell, &rung, sizeof(rung)) < 0 && errno != EAGAIN) return -errno;
  a->primed = true;
  if (current_ptr != a->events_written * EVENT_BYTES || a->overflown || a->told != a->sent) {
    uint64_t one = 1;
    a->primed = write(a->bell, &one, sizeof(one)) != sizeof(one);
  }
  int rc = watch(a, EPOLL_CTL_MOD, a->wire.fd, EPOLLIN | EPOLLONESHOT);
  return rc ? rc : watch(a, EPOLL_CTL_MOD, a->bell, EPOLLIN | EPOLLONESHOT);
}
