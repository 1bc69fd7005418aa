/* Control messages, written and shown. */
#include "udp.h"

static char buffer[1 << 17];

void add(struct control *c, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *h = (void *)(c->bytes + c->used);
    h->cmsg_level = level;
    h->cmsg_type = type;
    h->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(h), data, len);
    c->used += CMSG_SPACE(len);
}

long send_with(int fd, const void *to, long n, struct control *c, int flags)
{
    const struct sockaddr *name = to;
    socklen_t name_len = !to ? 0 : name->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    for (long i = 0; i < n; i++)
        buffer[i] = 'a' + i % 26;
    struct iovec v = { buffer, n };
    struct msghdr m = { (void *)to, name_len, &v, 1, c ? c->bytes : NULL, c ? c->used : 0, 0 };
    return sendmsg(fd, &m, flags);
}

static int about_now(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long apart = now.tv_sec - t->tv_sec;
    return apart >= 0 && apart < 10;
}

static const char *ip(const struct in_addr *a)
{
    static char text[4][INET_ADDRSTRLEN];
    static int at;
    at = (at + 1) % 4;
    return inet_ntop(AF_INET, a, text[at], sizeof text[at]);
}

static const char *ip6(const struct in6_addr *a)
{
    static char text[4][INET6_ADDRSTRLEN];
    static int at;
    at = (at + 1) % 4;
    return inet_ntop(AF_INET6, a, text[at], sizeof text[at]);
}

/* An address of either family, and how far its port is from this case's. */
static void show_name(const void *name)
{
    const struct sockaddr_in *four = name;
    const struct sockaddr_in6 *six = name;
    printf("%s %d", four->sin_family == AF_INET6 ? ip6(&six->sin6_addr) : ip(&four->sin_addr),
           ntohs(four->sin_port) - port);
}

static void show_error(const struct sock_extended_err *e, size_t len)
{
    const struct sockaddr_in *o = (void *)(e + 1);
    printf("error %s origin %u type %u code %u info %u", strerrorname_np(e->ee_errno), e->ee_origin,
           e->ee_type, e->ee_code, e->ee_info);
    if (len >= sizeof *e + sizeof(struct sockaddr_in6) && o->sin_family == AF_INET6)
        printf(" by %s", ip6(&((const struct sockaddr_in6 *)o)->sin6_addr));
    else if (len >= sizeof *e + sizeof *o)
        printf(" by %s family %d", ip(&o->sin_addr), o->sin_family);
}

static void show_control(const struct cmsghdr *h)
{
    const void *d = CMSG_DATA(h);
    size_t len = h->cmsg_len - CMSG_LEN(0);
    int word = 0;
    memcpy(&word, d, len < 4 ? len : 4);
    printf("  %d/%d of %zu: ", h->cmsg_level, h->cmsg_type, len);
    if (h->cmsg_level == SOL_IP && h->cmsg_type == IP_PKTINFO && len == 12) {
        const struct in_pktinfo *i = d;
        printf("iface %s from %s to %s", (unsigned)i->ipi_ifindex == if_nametoindex("lo") ? "lo" : "other",
               ip(&i->ipi_spec_dst), ip(&i->ipi_addr));
    } else if (h->cmsg_level == SOL_IP && h->cmsg_type == IP_ORIGDSTADDR && len == 16) {
        const struct sockaddr_in *a = d;
        printf("%d %s %d", a->sin_family, ip(&a->sin_addr), ntohs(a->sin_port) - port);
    } else if (h->cmsg_level == SOL_IP && h->cmsg_type == IP_RECVERR) {
        show_error(d, len);
    } else if (h->cmsg_level == SOL_IPV6 && h->cmsg_type == IPV6_RECVERR) {
        show_error(d, len);
    } else if (h->cmsg_level == SOL_IPV6 && h->cmsg_type == IPV6_PKTINFO && len == 20) {
        const struct in6_pktinfo *i = d;
        printf("iface %d to %s", i->ipi6_ifindex == if_nametoindex("road0"), ip6(&i->ipi6_addr));
    } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMP) {
        const struct timeval *t = d;
        struct timespec s = { t->tv_sec, 0 };
        printf("%s", about_now(&s) && t->tv_usec < 1000000 ? "now" : "another time");
    } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMPNS) {
        printf("%s", about_now(d) ? "now" : "another time");
    } else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMPING) {
        const struct timespec *t = d;
        printf("%s, hardware %ld", about_now(t) ? "now" : "another time", t[2].tv_sec);
    } else {
        printf("%d", word);
    }
    puts("");
}

long show(int fd, size_t room, size_t control_room, int flags)
{
    struct sockaddr_in6 a = { 0 };
    _Alignas(8) char control[512] = { 0 };
    struct iovec v = { buffer, room };
    struct msghdr m = { &a, sizeof a, &v, 1, control_room ? control : NULL, control_room, 0 };
    errno = 0;
    long n = recvmsg(fd, &m, flags);
    if (n < 0) {
        printf("recvmsg = %s\n", strerrorname_np(errno));
        return n;
    }
    printf("recvmsg = %ld from ", n);
    show_name(&a);
    printf(" (%u) flags %x control %zu\n", m.msg_namelen, m.msg_flags, m.msg_controllen);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        show_control(h);
    return n;
}

void set(int fd, int level, int name, int value)
{
    errno = 0;
    int r = setsockopt(fd, level, name, &value, sizeof value);
    printf("%s\n", r ? strerrorname_np(errno) : "ok");
}

void get(int fd, int level, int name)
{
    int value = -77;
    socklen_t len = sizeof value;
    errno = 0;
    if (getsockopt(fd, level, name, &value, &len))
        printf("%s\n", strerrorname_np(errno));
    else
        printf("%d (%u)\n", value, len);
}
