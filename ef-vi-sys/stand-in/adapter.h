/* The stand-in's own side of ef_vi: what a real adapter and its driver know. */
#ifndef STAND_IN_ADAPTER_H
#define STAND_IN_ADAPTER_H

#include <etherfabric/base.h>
#include <etherfabric/capabilities.h>
#include <etherfabric/efct_vi.h>
#include <etherfabric/memreg.h>
#include <etherfabric/pd.h>
#include <etherfabric/pio.h>
#include <etherfabric/vi.h>
#include <stdbool.h>

/* The longest frame that is looked at, in bytes. */
#define FRAME_MAX 9728
#define NAME_MAX_BYTES 64
#define FILTERS_MAX 64

/* What adapter it is: they differ in how they receive and how they send small frames. */
enum model {
  /* Posted buffers; PIO and CTPIO. */
  MODEL_X2,
  /* Posted buffers; PIO. */
  MODEL_SFN7,
  /* Superbuffers; sends through a FIFO, and by CTPIO. */
  MODEL_X3,
};

struct stand_in_memory {
  struct stand_in_memory* next;
  char* base;
  uint64_t pages;
  /* The adapter's number of its first page. */
  uint64_t first;
};

struct stand_in_pd {
  enum model model;
  char name[NAME_MAX_BYTES];
  struct stand_in_memory* memory;
};

/* Where the adapter is plugged in: an interface of the kernel's, or one end of a wire in memory. */
struct wire {
  int fd;
  int ifindex;
  unsigned mtu;
  unsigned char mac[6];
  /* A frame was refused because of that. */
  bool down;
  /* A wire in memory, and which end. */
  struct memory_wire* memory;
  int side;
};

struct rx_descriptor {
  ef_addr addr;
  unsigned len;
  ef_request_id id;
};

struct tx_descriptor {
  /* Where the bytes are, or, in PIO, the offset of them. */
  ef_addr addr;
  unsigned len;
  ef_request_id id;
  /* The frame goes on in the next descriptor. */
  bool more;
  bool pio;
  /* It went by CTPIO. */
  bool gone;
  bool failed;
};

/* A frame that was sent by CTPIO and whose fallback has not come. */
enum ctpio { CTPIO_NONE, CTPIO_SENT, CTPIO_FAILED };

#define SUPERBUFFERS 8
#define SUPERBUFFER_FRAMES 32
#define SUPERBUFFER_SLOT 2048
/* Where the frame begins in its slot. */
#define SUPERBUFFER_FRAME 64

struct superbuffer {
  char slots[SUPERBUFFER_FRAMES][SUPERBUFFER_SLOT];
  bool held[SUPERBUFFER_FRAMES];
  unsigned used;
};

struct stand_in_vi {
  struct stand_in_pd* pd;
  struct wire wire;
  ef_driver_handle dh;
  /* Rings while an event waits that its owner was not told of. */
  int bell;
  bool primed;

  ef_event* events;
  uint32_t events_mask, events_written, events_read;
  bool overflown;

  struct rx_descriptor* rx;
  uint32_t posted, filled;
  unsigned discards;
  struct superbuffer* superbuffers;
  unsigned superbuffer;

  struct tx_descriptor* tx;
  uint32_t pushed, sent, told;
  enum ctpio ctpio;
  unsigned ctpio_attempts;
  ef_pio* pio;

  struct {
    bool used;
    ef_filter_spec spec;
  } filters[FILTERS_MAX];
};

/* driver.c */
__attribute__((noreturn, format(printf, 1, 2))) void stand_in_misuse(const char* what, ...);
char* stand_in_translate(struct stand_in_pd*, ef_addr, unsigned len);

/* wire.c */
int stand_in_wire_open(struct wire*, const char* name);
void stand_in_wire_close(struct wire*);
bool stand_in_wire_exists(const char* name);
/* Whether it is plugged in still. */
bool stand_in_wire_is_there(const struct wire*);
/* Whether it is being unplugged, or is gone; `told`: the kernel has just told that it is down. */
bool stand_in_wire_goes(const struct wire*, bool told);
/* False when there is no room now. */
bool stand_in_wire_send(struct wire*, const void* frame, size_t len);
/* The frame's length, or -1 when none waits: ENETDOWN once, when an interface went down or away. What a kernel left
 * unfinished of its checksum is finished, as any adapter at the other end of a real wire would have. */
ssize_t stand_in_wire_receive(struct wire*, void* frame, size_t room);

/* checksum.c */
enum { L3_BAD = 1, L4_BAD = 2 };
unsigned stand_in_checksum_faults(const unsigned char* frame, size_t len);
void stand_in_checksum_write(unsigned char* frame, size_t len, bool l3, bool l4);

/* filter.c */
int stand_in_filters_apply(struct stand_in_vi*);
int stand_in_filter_nothing(int fd);

/* vi.c */
void stand_in_event(struct stand_in_vi*, const ef_event*);
int stand_in_poll(ef_vi*, ef_event*, int);

/* rx.c */
int stand_in_receive_init(ef_vi*, ef_addr, ef_request_id);
void stand_in_receive_push(ef_vi*);
int stand_in_set_discards(ef_vi*, unsigned);
uint64_t stand_in_get_discards(ef_vi*);
/* Takes what is on the wire. */
void stand_in_receive(ef_vi*);

/* tx.c */
int stand_in_transmit(ef_vi*, ef_addr, int, ef_request_id);
int stand_in_transmitv(ef_vi*, const ef_iovec*, int, ef_request_id);
int stand_in_transmitv_init(ef_vi*, const ef_iovec*, int, ef_request_id);
void stand_in_transmit_push(ef_vi*);
int stand_in_transmit_copy_pio(ef_vi*, int, const void*, int, ef_request_id);
void stand_in_transmitv_ctpio(ef_vi*, size_t, const struct iovec*, int, unsigned);
int stand_in_transmit_ctpio_fallback(ef_vi*, ef_addr, size_t, ef_request_id);
/* Sends what waits. */
void stand_in_send(ef_vi*);
/* Tells of what was sent. */
void stand_in_tell(ef_vi*);

#endif
