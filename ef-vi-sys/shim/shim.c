/* Compiled against the headers that are installed: their structures and macros are each release's own. */
#include "shim.h"

static void decode(const ef_event* e, struct ringroad_ef_event* out)
{
  *out = (struct ringroad_ef_event){.kind = RINGROAD_EF_OTHER};
  switch (EF_EVENT_TYPE(*e)) {
  case EF_EVENT_TYPE_RX:
    out->kind = RINGROAD_EF_RX;
    out->id = EF_EVENT_RX_RQ_ID(*e);
    out->len = EF_EVENT_RX_BYTES(*e);
    out->part = !EF_EVENT_RX_SOP(*e) || EF_EVENT_RX_CONT(*e);
    break;
  case EF_EVENT_TYPE_RX_DISCARD:
    out->kind = RINGROAD_EF_RX_DISCARD;
    out->id = EF_EVENT_RX_DISCARD_RQ_ID(*e);
    out->len = EF_EVENT_RX_DISCARD_BYTES(*e);
    out->part = !EF_EVENT_RX_DISCARD_SOP(*e) || EF_EVENT_RX_DISCARD_CONT(*e);
    out->reason = EF_EVENT_RX_DISCARD_TYPE(*e);
    break;
  case EF_EVENT_TYPE_RX_REF:
    out->kind = RINGROAD_EF_RX_REF;
    out->id = e->rx_ref.pkt_id;
    out->len = e->rx_ref.len;
    break;
  case EF_EVENT_TYPE_RX_REF_DISCARD:
    out->kind = RINGROAD_EF_RX_REF_DISCARD;
    out->id = e->rx_ref_discard.pkt_id;
    out->len = e->rx_ref_discard.len;
    out->reason = e->rx_ref_discard.flags;
    break;
  case EF_EVENT_TYPE_TX:
    out->kind = RINGROAD_EF_TX;
    out->ctpio = EF_EVENT_TX_CTPIO(*e) != 0;
    break;
  case EF_EVENT_TYPE_TX_ERROR:
    out->kind = RINGROAD_EF_TX_ERROR;
    out->reason = EF_EVENT_TX_ERROR_TYPE(*e);
    break;
  case EF_EVENT_TYPE_RX_NO_DESC_TRUNC:
    out->kind = RINGROAD_EF_RX_TRUNCATED;
    break;
  case EF_EVENT_TYPE_OFLOW:
  case EF_EVENT_TYPE_RESET:
    out->kind = RINGROAD_EF_HALTED;
    break;
  }
}

int ringroad_ef_poll(ef_vi* vi, ef_event* events, struct ringroad_ef_event* out, int len)
{
  int count = ef_eventq_poll(vi, events, len);
  for (int i = 0; i < count; i++) decode(&events[i], &out[i]);
  return count;
}

unsigned ringroad_ef_current(ef_vi* vi) { return ef_eventq_current(vi); }

ef_addr ringroad_ef_dma_addr(ef_memreg* memory, size_t offset) { return ef_memreg_dma_addr(memory, offset); }

int ringroad_ef_has_superbuffers(const ef_vi* vi)
{
#ifdef RINGROAD_EF10CT
  if (vi->nic_type.arch == EF_VI_ARCH_EF10CT) return 1;
#endif
  return vi->nic_type.arch == EF_VI_ARCH_EFCT;
}

int ringroad_ef_receive_prefix_len(const ef_vi* vi) { return ef_vi_receive_prefix_len(vi); }

void ringroad_ef_receive_set_buffer_len(ef_vi* vi, unsigned len) { ef_vi_receive_set_buffer_len(vi, len); }

int ringroad_ef_receive_space(const ef_vi* vi) { return ef_vi_receive_space(vi); }

int ringroad_ef_receive_capacity(const ef_vi* vi) { return ef_vi_receive_capacity(vi); }

int ringroad_ef_receive_init(ef_vi* vi, ef_addr addr, ef_request_id id) { return ef_vi_receive_init(vi, addr, id); }

void ringroad_ef_receive_push(ef_vi* vi) { ef_vi_receive_push(vi); }

int ringroad_ef_transmit_capacity(const ef_vi* vi) { return ef_vi_transmit_capacity(vi); }

int ringroad_ef_transmit(ef_vi* vi, ef_addr addr, int len, ef_request_id id)
{
  return ef_vi_transmit(vi, addr, len, id);
}

void ringroad_ef_transmit_push(ef_vi* vi) { ef_vi_transmit_push(vi); }

int ringroad_ef_transmit_copy_pio(ef_vi* vi, int offset, const void* from, int len, ef_request_id id)
{
  return ef_vi_transmit_copy_pio(vi, offset, from, len, id);
}

int ringroad_ef_transmit_ctpio(ef_vi* vi, const void* from, ef_addr addr, size_t len, ef_request_id id)
{
  ef_vi_transmit_ctpio(vi, from, len, EF_VI_CTPIO_CT_THRESHOLD_SNF);
  return ef_vi_transmit_ctpio_fallback(vi, addr, len, id);
}
