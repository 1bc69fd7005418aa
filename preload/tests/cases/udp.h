/* What the cases of datagrams share: control messages, written and shown. */
#ifndef UDP_H
#define UDP_H

#include "case.h"
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <net/if.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_CORK
#define UDP_CORK 1
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif

struct control {
    size_t used;
    _Alignas(8) char bytes[512];
};

void add(struct control *c, int level, int type, const void *data, size_t len);
/* Sends n bytes with these control messages. */
long send_with(int fd, const void *to, long n, struct control *c, int flags);
/* Receives into room bytes and prints all that recvmsg tells; controls that hold times are checked, not shown. */
long show(int fd, size_t room, size_t control_room, int flags);
/* Sets an int option and prints how it went. */
void set(int fd, int level, int name, int value);
/* Prints an int option. */
void get(int fd, int level, int name);

#define SET(fd, level, name, value) (printf("%s %d: ", #name, value), set(fd, level, name, value))
#define GET(fd, level, name) (printf("%s: ", #name), get(fd, level, name))

#endif
