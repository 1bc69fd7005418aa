/* Sending: descriptors, PIO, CTPIO, and what is told of them afterwards. */
#include "adapter.h"

#include <string.h>

/* An X3's bytes of header for each frame in its FIFO, and what it rounds to. */
#define FIFO_HEADER 8
#define FIFO_ROUND 64
/* Of CTPIO's attempts one in so many fails, as if another had been at the adapter. */
#define CTPIO_FAILS 5
#define PIO_ALIGN 64
#define PIO_SHORTEST 16

static int fifo_bytes(unsigned len) { return (int)((len + FIFO_HEADER + FIFO_ROUND - 1) / FIFO_ROUND * FIFO_ROUND); }

static bool is_x3(ef_vi* vi) { return vi->adapter->pd->model == MODEL_X3; }

static void no_ctpio_pending(ef_vi* vi)
{
  if (vi->adapter->ctpio != CTPIO_NONE) stand_in_misuse("a frame of CTPIO has no fallback, and another is sent");
}

static struct tx_descriptor* add(ef_vi* vi)
{
  struct tx_descriptor* d = &vi->adapter->tx[vi->txq.added++ & vi->txq.mask];
  *d = (struct tx_descriptor){.id = (ef_request_id)EF_REQUEST_ID_MASK};
  return d;
}

int stand_in_transmitv_init(ef_vi* vi, const ef_iovec* iov, int iov_len, ef_request_id id)
{
  no_ctpio_pending(vi);
  if (iov_len < 1 || ef_vi_transmit_space(vi) < iov_len) return -EAGAIN;
  if (is_x3(vi)) {
    unsigned len = 0;
    for (int i = 0; i < iov_len; i++) len += iov[i].iov_len;
    if (vi->fifo < fifo_bytes(len)) return -EAGAIN;
    vi->fifo -= fifo_bytes(len);
  }
  struct tx_descriptor* d = NULL;
  for (int i = 0; i < iov_len; i++) {
    d = add(vi);
    d->addr = iov[i].iov_base;
    d->len = iov[i].iov_len;
    d->more = i + 1 < iov_len;
  }
  d->id = id;
  return 0;
}

int ef_vi_transmit_init(ef_vi* vi, ef_addr addr, int bytes, ef_request_id id)
{
  ef_iovec iov = {addr, (unsigned)bytes};
  return stand_in_transmitv_init(vi, &iov, 1, id);
}

void stand_in_transmit_push(ef_vi* vi)
{
  no_ctpio_pending(vi);
  if (vi->adapter->pushed == vi->txq.added) stand_in_misuse("ef_vi_transmit_push without a new descriptor");
  vi->adapter->pushed = vi->txq.added;
  stand_in_send(vi);
}

int stand_in_transmitv(ef_vi* vi, const ef_iovec* iov, int iov_len, ef_request_id id)
{
  int rc = stand_in_transmitv_init(vi, iov, iov_len, id);
  if (rc == 0) stand_in_transmit_push(vi);
  return rc;
}

int stand_in_transmit(ef_vi* vi, ef_addr addr, int len, ef_request_id id)
{
  ef_iovec iov = {addr, (unsigned)len};
  return stand_in_transmitv(vi, &iov, 1, id);
}

/* Gathers the frame that begins at descriptor `*at`, which is then its last one. -1 when it cannot be read. */
static ssize_t gather(ef_vi* vi, uint32_t* at, unsigned char* frame)
{
  struct stand_in_vi* a = vi->adapter;
  size_t len = 0;
  bool well = true;
  for (;; (*at)++) {
    struct tx_descriptor* d = &a->tx[*at & vi->txq.mask];
    const void* from = d->pio ? (const void*)(a->pio->pio_buffer + d->addr) : stand_in_translate(a->pd, d->addr, d->len);
    well = well && from && len + d->len <= FRAME_MAX;
    if (well) memcpy(frame + len, from, d->len);
    len += d->len;
    if (!d->more) return well ? (ssize_t)len : -1;
  }
}

void stand_in_send(ef_vi* vi)
{
  struct stand_in_vi* a = vi->adapter;
  unsigned char frame[FRAME_MAX];
  while (a->sent != a->pushed) {
    uint32_t last = a->sent;
    if (!a->tx[last & vi->txq.mask].gone) {
      ssize_t len = gather(vi, &last, frame);
      if (len < 0) {
        a->tx[last & vi->txq.mask].failed = true;
      } else {
        bool l3 = !is_x3(vi) && !(vi->vi_flags & EF_VI_TX_IP_CSUM_DIS);
        bool l4 = !is_x3(vi) && !(vi->vi_flags & EF_VI_TX_TCPUDP_CSUM_DIS);
        stand_in_checksum_write(frame, (size_t)len, l3, l4);
        if (!stand_in_wire_send(&a->wire, frame, (size_t)len)) return;
      }
    }
    a->sent = last + 1;
  }
}

/* As many as an event can tell of go into one. */
void stand_in_tell(ef_vi* vi)
{
  struct stand_in_vi* a = vi->adapter;
  while (a->told != a->sent) {
    uint32_t last = a->told;
    struct tx_descriptor* first = &a->tx[last & vi->txq.mask];
    for (int n = 1; n < EF_VI_TRANSMIT_BATCH && last + 1 != a->sent && !first->failed; n++) {
      struct tx_descriptor* next = &a->tx[(last + 1) & vi->txq.mask];
      if (next->failed || next->gone != first->gone) break;
      last++;
    }
    if (is_x3(vi))
      for (uint32_t i = a->told; i != last + 1; i++) vi->fifo += fifo_bytes(a->tx[i & vi->txq.mask].len);
    ef_event event = {.tx = {.type = first->failed ? EF_EVENT_TYPE_TX_ERROR : EF_EVENT_TYPE_TX,
                             .flags = first->gone ? EF_EVENT_FLAG_CTPIO : 0,
                             .desc_id = (uint16_t)last,
                             .subtype = EF_EVENT_TX_ERROR_BUS}};
    stand_in_event(a, &event);
    a->told = last + 1;
  }
}

int ef_vi_transmit_unbundle(ef_vi* vi, const ef_event* event, ef_request_id* ids)
{
  int count = 0;
  uint16_t end = (uint16_t)(event->tx.desc_id + 1);
  while ((uint16_t)vi->txq.removed != end) {
    if (vi->txq.removed == vi->adapter->told) stand_in_misuse("an event is unbundled twice");
    ef_request_id id = vi->adapter->tx[vi->txq.removed++ & vi->txq.mask].id;
    if ((unsigned)id != EF_REQUEST_ID_MASK) ids[count++] = id;
  }
  return count;
}

int stand_in_transmit_copy_pio(ef_vi* vi, int offset, const void* from, int len, ef_request_id id)
{
  struct stand_in_vi* a = vi->adapter;
  no_ctpio_pending(vi);
  if (!a->pio || offset % PIO_ALIGN || offset < 0 || len < PIO_SHORTEST || offset + len > (int)a->pio->pio_len)
    stand_in_misuse("PIO of %d bytes at %d", len, offset);
  for (uint32_t i = vi->txq.removed; i != vi->txq.added; i++) {
    struct tx_descriptor* d = &a->tx[i & vi->txq.mask];
    if (d->pio && (ef_addr)offset < d->addr + d->len && d->addr < (ef_addr)(offset + len))
      stand_in_misuse("PIO at %d, where a frame is not told to be sent", offset);
  }
  if (ef_vi_transmit_space(vi) < 1) return -EAGAIN;
  memcpy(a->pio->pio_buffer + offset, from, (size_t)len);
  struct tx_descriptor* d = add(vi);
  d->addr = (ef_addr)offset;
  d->len = (unsigned)len;
  d->id = id;
  d->pio = true;
  stand_in_transmit_push(vi);
  return 0;
}

/* It goes past what waits in the ring. */
void stand_in_transmitv_ctpio(ef_vi* vi, size_t frame_len, const struct iovec* iov, int iov_len, unsigned threshold)
{
  struct stand_in_vi* a = vi->adapter;
  unsigned char frame[FRAME_MAX];
  size_t len = 0;
  (void)threshold;
  no_ctpio_pending(vi);
  if (!is_x3(vi) && !(vi->vi_flags & EF_VI_TX_CTPIO)) stand_in_misuse("CTPIO without EF_VI_TX_CTPIO");
  for (int i = 0; i < iov_len; i++) {
    if (len + iov[i].iov_len > FRAME_MAX) stand_in_misuse("a frame of CTPIO is too long");
    memcpy(frame + len, iov[i].iov_base, iov[i].iov_len);
    len += iov[i].iov_len;
  }
  if (len != frame_len) stand_in_misuse("a frame of CTPIO is %zu bytes, and not %zu", len, frame_len);
  bool refused = a->sent != a->pushed || ++a->ctpio_attempts % CTPIO_FAILS == 0 ||
                 (is_x3(vi) && vi->fifo < fifo_bytes((unsigned)len));
  a->ctpio = !refused && stand_in_wire_send(&a->wire, frame, len) ? CTPIO_SENT : CTPIO_FAILED;
}

int stand_in_transmit_ctpio_fallback(ef_vi* vi, ef_addr addr, size_t len, ef_request_id id)
{
  enum ctpio before = vi->adapter->ctpio;
  vi->adapter->ctpio = CTPIO_NONE;
  int rc = ef_vi_transmit_init(vi, addr, (int)len, id);
  if (rc) {
    vi->adapter->ctpio = before;
    return rc;
  }
  vi->adapter->tx[(vi->txq.added - 1) & vi->txq.mask].gone = before == CTPIO_SENT;
  stand_in_transmit_push(vi);
  return 0;
}
