/* Receiving: into posted buffers, or, on an adapter of the X3 model, into superbuffers of its own. */
#include "adapter.h"

#include <string.h>

/* Frames that one poll takes from the wire. */
#define AT_A_TIME 1024
/* What is in front of a frame in its buffer: the time in its first bytes, then nothing that means anything. */
#define PREFIX_FILL 0xee

int stand_in_receive_init(ef_vi* vi, ef_addr addr, ef_request_id id)
{
  struct stand_in_vi* a = vi->adapter;
  if (a->superbuffers) stand_in_misuse("a buffer is posted to an adapter that has its own");
  if (ef_vi_receive_space(vi) < 1) return -EAGAIN;
  a->rx[vi->rxq.added++ & vi->rxq.mask] = (struct rx_descriptor){addr, vi->rx_buffer_len, id};
  return 0;
}

void stand_in_receive_push(ef_vi* vi)
{
  vi->adapter->posted += (vi->rxq.added - vi->adapter->posted) & ~7u;
}

int stand_in_set_discards(ef_vi* vi, unsigned flags)
{
  vi->adapter->discards = flags & (EF_VI_DISCARD_RX_L4_CSUM_ERR | EF_VI_DISCARD_RX_L3_CSUM_ERR);
  return 0;
}

uint64_t stand_in_get_discards(ef_vi* vi) { return vi->adapter->discards; }

static bool discarded(struct stand_in_vi* a, const unsigned char* frame, size_t len)
{
  unsigned faults = stand_in_checksum_faults(frame, len);
  return (faults & L3_BAD && a->discards & EF_VI_DISCARD_RX_L3_CSUM_ERR) ||
         (faults & L4_BAD && a->discards & EF_VI_DISCARD_RX_L4_CSUM_ERR);
}

static void prefix(char* at, unsigned len)
{
  struct timespec now;
  if (len == 0) return;
  clock_gettime(CLOCK_REALTIME, &now);
  uint32_t when[2] = {(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec};
  memset(at, PREFIX_FILL, len);
  memcpy(at, when, sizeof(when));
}

int ef_vi_receive_get_timestamp_with_sync_flags(ef_vi* vi, const void* pkt, ef_timespec* ts, unsigned* flags)
{
  uint32_t when[2];
  if (!(vi->vi_flags & EF_VI_RX_TIMESTAMPS)) stand_in_misuse("a timestamp without EF_VI_RX_TIMESTAMPS");
  memcpy(when, pkt, sizeof(when));
  *ts = (struct timespec){when[0], when[1]};
  *flags = EF_VI_SYNC_FLAG_CLOCK_SET;
  return 0;
}

/* Into as many buffers as it needs; lost when there are not enough. The lengths that are told begin with the prefix,
 * and that of a later buffer with what is in those before it. */
static void post(ef_vi* vi, const unsigned char* frame, size_t len)
{
  struct stand_in_vi* a = vi->adapter;
  size_t done = 0;
  uint32_t from = a->filled, at = from;
  while (done < len) {
    if (at == a->posted) return;
    struct rx_descriptor* d = &a->rx[at & vi->rxq.mask];
    unsigned head = at == from ? vi->rx_prefix_len : 0;
    size_t room = d->len > head ? d->len - head : 0, part = len - done < room ? len - done : room;
    char* to = stand_in_translate(a->pd, d->addr, (unsigned)(head + part));
    if (part == 0) stand_in_misuse("a receive buffer of %u bytes", d->len);
    if (to) {
      prefix(to, head);
      memcpy(to + head, frame + done, part);
    }
    done += part;
    at++;
  }
  bool bad = discarded(a, frame, len);
  done = 0;
  for (; a->filled != at; a->filled++) {
    struct rx_descriptor* d = &a->rx[a->filled & vi->rxq.mask];
    bool first = a->filled == from, last = a->filled + 1 == at;
    size_t room = d->len - (first ? vi->rx_prefix_len : 0);
    done = len - done < room ? len : done + room;
    bool reached = stand_in_translate(a->pd, d->addr, 1);
    ef_event event = {.rx = {.type = EF_EVENT_TYPE_RX,
                             .rq_id = (uint32_t)d->id,
                             .len = (uint16_t)(done + vi->rx_prefix_len),
                             .flags = (first ? EF_EVENT_FLAG_SOP : 0) | (last ? 0 : EF_EVENT_FLAG_CONT)}};
    if (bad || !reached) {
      event.rx.type = EF_EVENT_TYPE_RX_DISCARD;
      event.rx.subtype = reached ? EF_EVENT_RX_DISCARD_CSUM_BAD : EF_EVENT_RX_DISCARD_RIGHTS;
    }
    stand_in_event(a, &event);
  }
}

/* A superbuffer is used again when the last of its frames was released, not before. */
static void collect(ef_vi* vi, const unsigned char* frame, size_t len)
{
  struct stand_in_vi* a = vi->adapter;
  struct superbuffer* s = &a->superbuffers[a->superbuffer];
  if (s->used == SUPERBUFFER_FRAMES) {
    unsigned next = (a->superbuffer + 1) % SUPERBUFFERS;
    s = &a->superbuffers[next];
    for (int i = 0; i < SUPERBUFFER_FRAMES; i++)
      if (s->held[i]) return;
    s->used = 0;
    a->superbuffer = next;
  }
  if (len > SUPERBUFFER_SLOT - SUPERBUFFER_FRAME) return;
  unsigned slot = s->used++;
  prefix(s->slots[slot], 8);
  memcpy(s->slots[slot] + SUPERBUFFER_FRAME, frame, len);
  s->held[slot] = true;
  ef_event event = {.rx_ref = {.type = EF_EVENT_TYPE_RX_REF,
                               .len = (uint16_t)len,
                               .pkt_id = a->superbuffer << 16 | slot}};
  if (discarded(a, frame, len)) {
    event.rx_ref_discard.type = EF_EVENT_TYPE_RX_REF_DISCARD;
    event.rx_ref_discard.flags = EF_VI_DISCARD_RX_L4_CSUM_ERR;
  }
  stand_in_event(a, &event);
}

void stand_in_receive(ef_vi* vi)
{
  unsigned char frame[FRAME_MAX + 1];
  for (int i = 0; i < AT_A_TIME; i++) {
    ssize_t len = stand_in_wire_receive(&vi->adapter->wire, frame, sizeof(frame));
    struct wire* wire = &vi->adapter->wire;
    if (len < 0 && (errno == ENETDOWN || wire->down) && stand_in_wire_goes(wire, errno == ENETDOWN)) {
      wire->down = false;
      ef_event reset = {.generic = {EF_EVENT_TYPE_RESET}};
      stand_in_event(vi->adapter, &reset);
    }
    if (len < 0) return;
    if (len == 0 || len > (ssize_t)vi->adapter->wire.mtu) continue;
    if (vi->adapter->superbuffers)
      collect(vi, frame, (size_t)len);
    else
      post(vi, frame, (size_t)len);
  }
}

static char* slot_of(ef_vi* vi, uint32_t pkt_id, const char* what)
{
  struct superbuffer* all = vi->adapter->superbuffers;
  unsigned s = pkt_id >> 16, slot = pkt_id & 0xffff;
  if (!all || s >= SUPERBUFFERS || slot >= SUPERBUFFER_FRAMES || !all[s].held[slot])
    stand_in_misuse("packet %#x is %s, and nobody holds it", pkt_id, what);
  return all[s].slots[slot];
}

const void* efct_vi_rxpkt_get(ef_vi* vi, uint32_t pkt_id) { return slot_of(vi, pkt_id, "read") + SUPERBUFFER_FRAME; }

int efct_vi_rxpkt_get_timestamp(ef_vi* vi, uint32_t pkt_id, ef_timespec* ts, unsigned* flags)
{
  uint32_t when[2];
  memcpy(when, slot_of(vi, pkt_id, "asked for its time"), sizeof(when));
  *ts = (struct timespec){when[0], when[1]};
  *flags = EF_VI_SYNC_FLAG_CLOCK_SET;
  return 0;
}

/* What is read after it is seen to be wrong. */
void efct_vi_rxpkt_release(ef_vi* vi, uint32_t pkt_id)
{
  memset(slot_of(vi, pkt_id, "released"), PREFIX_FILL, SUPERBUFFER_SLOT);
  vi->adapter->superbuffers[pkt_id >> 16].held[pkt_id & 0xffff] = false;
}
