/* What an adapter does of checksums: RFC 1071, for IPv4, and for TCP and UDP right behind the header of IPv4 or IPv6. */
#include "adapter.h"

struct layers {
  /* Bytes of the IPv4 header; 0 for IPv6. */
  size_t l3_len;
  /* Where the L4 header begins and ends with its payload; 0 when there is none to check. */
  size_t l4, end;
  unsigned char protocol;
  /* Where the checksum is in the frame. */
  size_t field;
};

static uint32_t sum(const unsigned char* bytes, size_t len, uint32_t start)
{
  for (size_t i = 0; i + 1 < len; i += 2) start += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
  if (len % 2) start += (uint32_t)(bytes[len - 1] << 8);
  return start;
}

static uint16_t fold(uint32_t sum)
{
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

/* What of a frame can be checked. False for what is no IP, or cut short. */
static bool look(const unsigned char* f, size_t len, struct layers* found)
{
  *found = (struct layers){0};
  if (len < 34) return false;
  unsigned type = (unsigned)(f[12] << 8 | f[13]);
  size_t total, next;
  if (type == 0x0800) {
    found->l3_len = (size_t)(f[14] & 15) * 4;
    total = (size_t)(f[16] << 8 | f[17]);
    if (f[14] >> 4 != 4 || found->l3_len < 20 || total < found->l3_len || 14 + total > len) return false;
    bool fragment = (f[20] & 0x3f) || f[21];
    found->protocol = fragment ? 0 : f[23];
    next = 14 + found->l3_len;
  } else if (type == 0x86dd && len >= 54) {
    total = 40 + (size_t)(f[18] << 8 | f[19]);
    if (14 + total > len) return false;
    found->protocol = f[20];
    next = 54;
  } else {
    return false;
  }
  size_t header = found->protocol == 6 ? 20 : found->protocol == 17 ? 8 : 0;
  if (header && next + header <= 14 + total) {
    found->l4 = next;
    found->end = 14 + total;
    found->field = next + (found->protocol == 6 ? 16 : 6);
  }
  return true;
}

static uint32_t pseudo(const unsigned char* f, const struct layers* l)
{
  uint32_t start = (uint32_t)(l->end - l->l4) + l->protocol;
  return l->l3_len ? sum(f + 26, 8, start) : sum(f + 22, 32, start);
}

unsigned stand_in_checksum_faults(const unsigned char* f, size_t len)
{
  struct layers l;
  unsigned faults = 0;
  if (!look(f, len, &l)) return 0;
  if (l.l3_len && fold(sum(f + 14, l.l3_len, 0)) != 0xffff) faults |= L3_BAD;
  bool none = l.protocol == 17 && l.l3_len && !f[l.field] && !f[l.field + 1];
  if (l.l4 && !none && fold(sum(f + l.l4, l.end - l.l4, pseudo(f, &l))) != 0xffff) faults |= L4_BAD;
  return faults;
}

static void put(unsigned char* at, uint32_t of)
{
  uint16_t field = (uint16_t)~fold(of);
  at[0] = (unsigned char)(field >> 8);
  at[1] = (unsigned char)field;
}

void stand_in_checksum_write(unsigned char* f, size_t len, bool l3, bool l4)
{
  struct layers l;
  if (!look(f, len, &l)) return;
  if (l3 && l.l3_len) {
    f[24] = f[25] = 0;
    put(f + 24, sum(f + 14, l.l3_len, 0));
  }
  if (l4 && l.l4) {
    f[l.field] = f[l.field + 1] = 0;
    put(f + l.field, sum(f + l.l4, l.end - l.l4, pseudo(f, &l)));
    // RFC 768: a sum of zero is sent as all ones.
    if (l.protocol == 17 && !f[l.field] && !f[l.field + 1]) f[l.field] = f[l.field + 1] = 0xff;
  }
}
