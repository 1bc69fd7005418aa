/* Filters: what the adapter leads here. They are made into a classic BPF program of the wire's socket, so what none of
 * them names does not even wake. As on the adapter, filters on ports match no fragments. */
#include "adapter.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { NOTHING, IP4, IP6, ETH_LOCAL };

/* Of `ef_filter_spec.data`. */
struct ip4 {
  unsigned protocol, host, port, full, rhost, rport;
};
struct ip6 {
  unsigned protocol_full, host[4], rhost[4], port, rport;
};

void ef_filter_spec_init(ef_filter_spec* fs, enum ef_filter_flags flags)
{
  memset(fs, 0, sizeof(*fs));
  fs->flags = flags;
}

static int set(ef_filter_spec* fs, unsigned type, const void* data, size_t len)
{
  _Static_assert(sizeof(struct ip6) <= sizeof(fs->data) && sizeof(struct ip4) <= sizeof(fs->data), "room");
  if (fs->type != NOTHING) return -EPROTONOSUPPORT;
  fs->type = type;
  memcpy(fs->data, data, len);
  return 0;
}

static bool filterable(int protocol) { return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP; }

int ef_filter_spec_set_ip4_local(ef_filter_spec* fs, int protocol, unsigned host, int port)
{
  struct ip4 ip = {(unsigned)protocol, host, (unsigned)port, 0, 0, 0};
  return filterable(protocol) ? set(fs, IP4, &ip, sizeof(ip)) : -EPROTONOSUPPORT;
}

int ef_filter_spec_set_ip4_full(ef_filter_spec* fs, int protocol, unsigned host, int port, unsigned rhost, int rport)
{
  struct ip4 ip = {(unsigned)protocol, host, (unsigned)port, 1, rhost, (unsigned)rport};
  return filterable(protocol) ? set(fs, IP4, &ip, sizeof(ip)) : -EPROTONOSUPPORT;
}

int ef_filter_spec_set_ip6_local(ef_filter_spec* fs, int protocol, const struct in6_addr* host, int port)
{
  struct ip6 ip = {.protocol_full = (unsigned)protocol, .port = (unsigned)port};
  memcpy(ip.host, host, 16);
  return filterable(protocol) ? set(fs, IP6, &ip, sizeof(ip)) : -EPROTONOSUPPORT;
}

int ef_filter_spec_set_ip6_full(ef_filter_spec* fs, int protocol, const struct in6_addr* host, int port,
                                const struct in6_addr* rhost, int rport)
{
  struct ip6 ip = {
      .protocol_full = (unsigned)protocol | 0x100, .port = (unsigned)port, .rport = (unsigned)rport};
  memcpy(ip.host, host, 16);
  memcpy(ip.rhost, rhost, 16);
  return filterable(protocol) ? set(fs, IP6, &ip, sizeof(ip)) : -EPROTONOSUPPORT;
}

int ef_filter_spec_set_eth_local(ef_filter_spec* fs, int vlan_id, const void* mac)
{
  return vlan_id == EF_FILTER_VLAN_ID_ANY ? set(fs, ETH_LOCAL, mac, 6) : -EPROTONOSUPPORT;
}

/* A program under construction; tests that do not hold lead behind the block that began at `block`. */
struct program {
  struct sock_filter code[BPF_MAXINSNS];
  unsigned short len, block;
};

static void add(struct program* p, unsigned short code, unsigned k)
{
  if (p->len == BPF_MAXINSNS) stand_in_misuse("more filters than a program holds");
  p->code[p->len++] = (struct sock_filter){.code = code, .k = k};
}

static void load(struct program* p, unsigned short size, unsigned offset) { add(p, BPF_LD | BPF_ABS | size, offset); }
static void must(struct program* p, unsigned value) { add(p, BPF_JMP | BPF_JEQ | BPF_K, value); }

static void begin(struct program* p) { p->block = p->len; }

static void accept_frame(struct program* p)
{
  add(p, BPF_RET | BPF_K, 0xffffffff);
  for (unsigned short at = p->block; at < p->len; at++) {
    struct sock_filter* one = &p->code[at];
    unsigned char distance = (unsigned char)(p->len - at - 1);
    if (one->code == (BPF_JMP | BPF_JEQ | BPF_K)) one->jf = distance;
    if (one->code == (BPF_JMP | BPF_JSET | BPF_K)) one->jt = distance;
  }
}

static void ports(struct program* p, unsigned short mode, unsigned at, unsigned port, bool full, unsigned rport)
{
  add(p, BPF_LD | BPF_H | mode, at + 2);
  must(p, ntohs((uint16_t)port));
  if (!full) return;
  add(p, BPF_LD | BPF_H | mode, at);
  must(p, ntohs((uint16_t)rport));
}

static void words(struct program* p, unsigned at, const unsigned* value, int count)
{
  for (int i = 0; i < count; i++) {
    load(p, BPF_W, at + 4 * (unsigned)i);
    must(p, ntohl(value[i]));
  }
}

static void compile(struct program* p, const ef_filter_spec* fs)
{
  struct ip4 v4;
  struct ip6 v6;
  memcpy(&v4, fs->data, sizeof(v4));
  memcpy(&v6, fs->data, sizeof(v6));
  const unsigned char* mac = (const unsigned char*)fs->data;
  begin(p);
  switch (fs->type) {
  case IP4:
    load(p, BPF_H, 12);
    must(p, 0x0800);
    load(p, BPF_B, 23);
    must(p, v4.protocol);
    load(p, BPF_H, 20);
    add(p, BPF_JMP | BPF_JSET | BPF_K, 0x3fff);
    words(p, 30, &v4.host, 1);
    if (v4.full) words(p, 26, &v4.rhost, 1);
    add(p, BPF_LDX | BPF_B | BPF_MSH, 14);
    ports(p, BPF_IND, 14, v4.port, v4.full, v4.rport);
    break;
  case IP6: {
    bool full = v6.protocol_full & 0x100;
    load(p, BPF_H, 12);
    must(p, 0x86dd);
    load(p, BPF_B, 20);
    must(p, v6.protocol_full & 0xff);
    words(p, 38, v6.host, 4);
    if (full) words(p, 22, v6.rhost, 4);
    ports(p, BPF_ABS, 54, v6.port, full, v6.rport);
    break;
  }
  default:
    load(p, BPF_W, 0);
    must(p, (unsigned)mac[0] << 24 | (unsigned)mac[1] << 16 | (unsigned)mac[2] << 8 | mac[3]);
    load(p, BPF_H, 4);
    must(p, (unsigned)mac[4] << 8 | mac[5]);
    break;
  }
  accept_frame(p);
}

static int attach(int fd, const struct program* p)
{
  struct sock_fprog program = {.len = p->len, .filter = (struct sock_filter*)p->code};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

int stand_in_filter_nothing(int fd)
{
  struct program p = {.len = 0};
  add(&p, BPF_RET | BPF_K, 0);
  return attach(fd, &p);
}

int stand_in_filters_apply(struct stand_in_vi* a)
{
  struct program p = {.len = 0};
  // A tag is no part of what is filtered on here: what has one is the kernel's.
  begin(&p);
  load(&p, BPF_W, (unsigned)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
  p.code[p.len] = (struct sock_filter){.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 1};
  p.len++;
  add(&p, BPF_RET | BPF_K, 0);
  for (int i = 0; i < FILTERS_MAX; i++)
    if (a->filters[i].used) compile(&p, &a->filters[i].spec);
  add(&p, BPF_RET | BPF_K, 0);
  return attach(a->wire.fd, &p);
}

int ef_vi_filter_add(ef_vi* vi, ef_driver_handle dh, const ef_filter_spec* fs, ef_filter_cookie* cookie)
{
  (void)dh;
  struct stand_in_vi* a = vi->adapter;
  int place = -1;
  if (fs->type == NOTHING) return -EINVAL;
  for (int i = FILTERS_MAX - 1; i >= 0; i--) {
    if (!a->filters[i].used)
      place = i;
    else if (memcmp(&a->filters[i].spec, fs, sizeof(*fs)) == 0)
      return -EEXIST;
  }
  if (place < 0) return -EBUSY;
  a->filters[place].spec = *fs;
  a->filters[place].used = true;
  if (cookie) *cookie = (ef_filter_cookie){.filter_id = place, .filter_type = (int)fs->type};
  return stand_in_filters_apply(a);
}

int ef_vi_filter_del(ef_vi* vi, ef_driver_handle dh, ef_filter_cookie* cookie)
{
  (void)dh;
  struct stand_in_vi* a = vi->adapter;
  int id = cookie->filter_id;
  if (id < 0 || id >= FILTERS_MAX || !a->filters[id].used) return -EINVAL;
  a->filters[id].used = false;
  return stand_in_filters_apply(a);
}
