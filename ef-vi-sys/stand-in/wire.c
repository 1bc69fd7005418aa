/* What the adapter is plugged in to: a packet socket on an interface of this network namespace, or a wire in memory
 * between two ends in one process, which needs no privilege. */
#define _GNU_SOURCE
#include "adapter.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define MEMORY "memory:"
#define MEMORY_MTU 1514
/* Wires whose names begin so let longer frames through. */
#define JUMBO MEMORY "jumbo"
#define JUMBO_MTU 9014
#define SOCKET_BUFFER (1 << 20)

/* There as long as one of its ends is in use. */
struct memory_wire {
  struct memory_wire* next;
  char name[NAME_MAX_BYTES];
  int fds[2];
  bool used[2];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory_wire* wires;

/* `memory:NAME:0` or `memory:NAME:1`: the end, or -1. */
static int memory_side(const char* name)
{
  size_t len = strlen(name);
  bool well = strncmp(name, MEMORY, strlen(MEMORY)) == 0 && len > strlen(MEMORY) + 2 && name[len - 2] == ':';
  return well && (name[len - 1] == '0' || name[len - 1] == '1') ? name[len - 1] - '0' : -1;
}

bool stand_in_wire_exists(const char* name) { return memory_side(name) >= 0 || if_nametoindex(name); }

static struct memory_wire* find_or_make(const char* name)
{
  char wire_name[NAME_MAX_BYTES];
  snprintf(wire_name, sizeof(wire_name), "%.*s", (int)strlen(name) - 2, name);
  for (struct memory_wire* w = wires; w; w = w->next)
    if (strcmp(w->name, wire_name) == 0) return w;
  struct memory_wire* w = calloc(1, sizeof(*w));
  if (!w) return NULL;
  // Of a pair of these, only the buffer bounds what waits.
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->fds)) {
    free(w);
    return NULL;
  }
  for (int side = 0; side < 2; side++) {
    int bytes = SOCKET_BUFFER;
    setsockopt(w->fds[side], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    stand_in_filter_nothing(w->fds[side]);
  }
  strcpy(w->name, wire_name);
  w->next = wires;
  wires = w;
  return w;
}

static void drain(int fd)
{
  char byte;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0) {
  }
}

static int open_memory(struct wire* wire, const char* name, int side)
{
  pthread_mutex_lock(&lock);
  struct memory_wire* w = find_or_make(name);
  int rc = !w ? -ENOMEM : w->used[side] ? -EBUSY : 0;
  if (rc == 0) {
    w->used[side] = true;
    drain(w->fds[side]);
    unsigned mtu = strncmp(name, JUMBO, strlen(JUMBO)) == 0 ? JUMBO_MTU : MEMORY_MTU;
    *wire = (struct wire){.fd = w->fds[side], .mtu = mtu, .memory = w, .side = side};
    wire->mac[0] = 2;
    wire->mac[5] = (unsigned char)(side + 1);
  }
  pthread_mutex_unlock(&lock);
  return rc;
}

static void close_memory(struct wire* wire)
{
  pthread_mutex_lock(&lock);
  struct memory_wire* w = wire->memory;
  w->used[wire->side] = false;
  stand_in_filter_nothing(wire->fd);
  if (!w->used[0] && !w->used[1]) {
    struct memory_wire** at = &wires;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    close(w->fds[0]);
    close(w->fds[1]);
    free(w);
  }
  pthread_mutex_unlock(&lock);
}

static int open_packet(struct wire* wire, const char* name)
{
  struct ifreq request = {0};
  if (strlen(name) >= sizeof(request.ifr_name)) return -ENODEV;
  strcpy(request.ifr_name, name);
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  *wire = (struct wire){.fd = fd, .ifindex = (int)if_nametoindex(name)};
  int one = 1, bytes = SOCKET_BUFFER;
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = wire->ifindex};
  bool well = stand_in_filter_nothing(fd) == 0 && ioctl(fd, SIOCGIFMTU, &request) == 0;
  wire->mtu = (unsigned)request.ifr_mtu + ETH_HLEN;
  well = well && ioctl(fd, SIOCGIFHWADDR, &request) == 0;
  memcpy(wire->mac, request.ifr_hwaddr.sa_data, 6);
  well = well && setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0 &&
         setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) == 0 &&
         bind(fd, (struct sockaddr*)&address, sizeof(address)) == 0;
  if (!well) {
    int rc = -errno;
    close(fd);
    return rc;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
  return 0;
}

int stand_in_wire_open(struct wire* wire, const char* name)
{
  int side = memory_side(name);
  return side >= 0 ? open_memory(wire, name, side) : open_packet(wire, name);
}

void stand_in_wire_close(struct wire* wire)
{
  if (wire->memory)
    close_memory(wire);
  else
    close(wire->fd);
}

bool stand_in_wire_is_there(const struct wire* wire)
{
  struct ifreq request = {.ifr_ifindex = wire->ifindex};
  return wire->memory || ioctl(wire->fd, SIOCGIFNAME, &request) == 0;
}

bool stand_in_wire_goes(const struct wire* wire, bool told)
{
  // Whoever is taken away goes down first, which is all that is told: for a moment it is there still.
  const struct timespec moment = {.tv_nsec = 1000000};
  for (int moments = told ? 300 : 0; moments > 0 && stand_in_wire_is_there(wire); moments--) nanosleep(&moment, NULL);
  return !stand_in_wire_is_there(wire);
}

bool stand_in_wire_send(struct wire* wire, const void* frame, size_t len)
{
  // No adapter of the other end would take more.
  if (len > wire->mtu || send(wire->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
  wire->down |= errno == ENETDOWN || errno == ENXIO || errno == ENODEV;
  return errno != EAGAIN && errno != ENOBUFS;
}

ssize_t stand_in_wire_receive(struct wire* wire, void* frame, size_t room)
{
  char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
  struct iovec iov = {frame, room};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  ssize_t len = recvmsg(wire->fd, &message, MSG_DONTWAIT);
  if (len < 0) return -1;
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    struct tpacket_auxdata aux;
    if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) continue;
    memcpy(&aux, CMSG_DATA(c), sizeof(aux));
    if (aux.tp_status & TP_STATUS_CSUMNOTREADY) stand_in_checksum_write(frame, (size_t)len, false, true);
  }
  return len;
}
