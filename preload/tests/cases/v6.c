/* IPv6, and sockets that speak both families (RFC 3493). */
#include "case.h"
#include <net/if.h>

static const char own_ip6[] = "fd00:77::1", peer_ip6[] = "fd00:77::2", peer_link[] = "fe80::77:2";

static struct sockaddr_in6 address6(const char *ip, int number)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(number) };
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    return a;
}

static int tcp6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return fd;
}

/* An address as the application sees it; a port is told by whose it is. */
static void show(const char *what, const void *name, socklen_t len)
{
    const struct sockaddr_in6 *six = name;
    const struct sockaddr_in *four = name;
    char text[64] = "-";
    int number = ntohs(four->sin_port);
    if (six->sin6_family == AF_INET6)
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
    else if (six->sin6_family == AF_INET)
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
    printf("%s: family %d %s port %s len %u", what, six->sin6_family, text,
           number == port ? "ours" : number == port + 1 ? "next" : number ? "other" : "none", len);
    if (six->sin6_family == AF_INET6)
        printf(" flow %u scope %d", ntohl(six->sin6_flowinfo), six->sin6_scope_id != 0);
    printf("\n");
    fflush(stdout);
}

static void names(int fd)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    memset(&a, 0xff, sizeof a);
    SAY(getsockname(fd, (void *)&a, &len));
    show("own", &a, len);
    len = sizeof a;
    memset(&a, 0xff, sizeof a);
    long got = getpeername(fd, (void *)&a, &len);
    printf("getpeername: %s\n", got ? strerrorname_np(errno) : "0");
    if (!got)
        show("peer", &a, len);
}

static int number_of(int fd, int level, int name)
{
    int value = -99;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len))
        return -errno;
    return value;
}

static int connect_to(int fd, const char *ip, int number)
{
    struct sockaddr_in6 a = address6(ip, number);
    return connect(fd, (void *)&a, sizeof a);
}

CASE(v6_connect)
{
    int fd = tcp6();
    char text[16] = "";
    peer("listen6 %d", port);
    SAY(connect_to(fd, peer_ip6, port));
    SAY(peer("accept"));
    names(fd);
    SAY(write(fd, "hello", 5));
    SAY(peer("recv 5"));
    SAY(peer("send 10"));
    SAY(recv(fd, text, 10, MSG_WAITALL));
    printf("%s\n", text);
    SAY(number_of(fd, SOL_SOCKET, SO_DOMAIN));
    SAY(number_of(fd, SOL_SOCKET, SO_PROTOCOL));
    SAY(shutdown(fd, SHUT_WR));
    SAY(peer("eof"));
}

CASE(v6_connect_nonblocking)
{
    int fd = tcp6();
    peer("listen6 %d", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect_to(fd, peer_ip6, port));
    events("poll", ready(fd, POLLOUT));
    SAY(number_of(fd, SOL_SOCKET, SO_ERROR));
    SAY(connect_to(fd, peer_ip6, port));
    SAY(connect_to(fd, peer_ip6, port));
    names(fd);
}

CASE(v6_connect_refused)
{
    int fd = tcp6();
    SAY(connect_to(fd, peer_ip6, port));
    SAY(number_of(fd, SOL_SOCKET, SO_ERROR));
    peer("listen6 %d", port);
    SAY(connect_to(fd, peer_ip6, port));
    SAY(peer("accept"));
}

CASE(v6_connect_mapped)
{
    int fd = tcp6();
    peer("listen %d", port);
    SAY(connect_to(fd, "::ffff:10.77.0.2", port));
    SAY(peer("accept"));
    names(fd);
    SAY(write(fd, "hello", 5));
    SAY(peer("recv 5"));
    SAY(number_of(fd, SOL_SOCKET, SO_DOMAIN));
}

CASE(v6_connect_mapped_where_only_v6_is_wanted)
{
    int fd = tcp6(), one = 1;
    peer("listen %d", port);
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    SAY(connect_to(fd, "::ffff:10.77.0.2", port));
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_V6ONLY));
}

CASE(v6_connect_with_names_of_the_other_family)
{
    int six = tcp6(), four = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    struct sockaddr_in6 b = address6(peer_ip6, port), mapped = address6("::ffff:10.77.0.2", port);
    peer("listen %d", port);
    SAY(connect(six, (void *)&a, sizeof a));
    SAY(connect(four, (void *)&b, sizeof b));
    SAY(connect(four, (void *)&mapped, sizeof mapped));
    SAY(connect(six, (void *)&b, 23));
    SAY(connect(six, (void *)&b, 27));
}

CASE(v6_connect_with_a_short_name)
{
    int fd = tcp6();
    struct sockaddr_in6 a = address6(peer_ip6, port);
    peer("listen6 %d", port);
    SAY(connect(fd, (void *)&a, 24));
    SAY(peer("accept"));
    names(fd);
}

CASE(v6_connect_ignores_flow_and_scope)
{
    int fd = tcp6();
    struct sockaddr_in6 a = address6(peer_ip6, port);
    a.sin6_flowinfo = htonl(0x12345);
    a.sin6_scope_id = 77;
    peer("listen6 %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    names(fd);
}

CASE(v6_connect_on_the_link)
{
    int fd = tcp6();
    struct sockaddr_in6 a = address6(peer_link, port);
    peer("listen6any %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    a.sin6_scope_id = if_nametoindex("road0");
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    names(fd);
    SAY(write(fd, "link", 4));
    SAY(peer("recv 4"));
}

CASE(v6_connect_from_a_bound_address)
{
    int fd = tcp6();
    struct sockaddr_in6 a = address6(own_ip6, port + 1), any = address6("::", 0);
    peer("listen6 %d", port);
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(connect_to(fd, peer_ip6, port));
    names(fd);
    fd = tcp6();
    SAY(bind(fd, (void *)&any, sizeof any));
    SAY(connect_to(fd, peer_ip6, port));
    names(fd);
    fd = tcp6();
    a = address6("::ffff:10.77.0.1", 0);
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(connect_to(fd, peer_ip6, port));
    peer("listen %d", port + 1);
    SAY(connect_to(fd, "::ffff:10.77.0.2", port + 1));
    names(fd);
}

static int listener6(const char *ip, int only)
{
    int fd = tcp6();
    struct sockaddr_in6 a = address6(ip, port);
    if (only >= 0)
        SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only));
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(listen(fd, 8));
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 0);
    return fd;
}

static void accepted(int fd)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    memset(&a, 0xff, sizeof a);
    events("poll", ready(fd, POLLIN));
    int conn = accept(fd, (void *)&a, &len);
    printf("accept: %s\n", conn < 0 ? strerrorname_np(errno) : "a connection");
    if (conn < 0)
        return;
    show("accepted", &a, len);
    names(conn);
    SAY(number_of(conn, SOL_SOCKET, SO_DOMAIN));
    SAY(number_of(conn, IPPROTO_IPV6, IPV6_V6ONLY));
    SAY(write(conn, "abc", 3));
    SAY(peer("recv 3"));
    SAY(close(conn));
}

CASE(v6_listener_hears_both)
{
    int fd = listener6("::", -1);
    names(fd);
    SAY(peer("connect6 %d", port));
    accepted(fd);
    SAY(peer("connect %d", port));
    accepted(fd);
}

CASE(v6_listener_hears_both_when_told)
{
    int fd = listener6("::", 0);
    SAY(peer("connect %d", port));
    accepted(fd);
}

CASE(v6_listener_that_wants_only_v6)
{
    int fd = listener6("::", 1);
    SAY(peer("connect %d", port));
    SAY(peer("connect6 %d", port));
    accepted(fd);
}

CASE(v6_listener_on_an_address)
{
    int fd = listener6(own_ip6, -1);
    names(fd);
    SAY(peer("connect %d", port));
    SAY(peer("connect6 %d", port));
    accepted(fd);
}

CASE(v6_listener_on_a_mapped_address)
{
    int fd = listener6("::ffff:10.77.0.1", -1);
    names(fd);
    SAY(peer("connect6 %d", port));
    SAY(peer("connect %d", port));
    accepted(fd);
}

CASE(v6_accept_into_little_room)
{
    int fd = listener6("::", -1);
    struct sockaddr_in6 a;
    socklen_t len = 8;
    memset(&a, 0xee, sizeof a);
    SAY(peer("connect6 %d", port));
    int conn = accept(fd, (void *)&a, &len);
    printf("%d %u %02x %02x\n", conn >= 0, len, ((unsigned char *)&a)[7], ((unsigned char *)&a)[8]);
}

CASE(v6_bind_conflicts)
{
    struct sockaddr_in four = address("0.0.0.0", port), one_four = address(own_ip, port);
    struct sockaddr_in6 six = address6("::", port), mapped = address6("::ffff:10.77.0.1", port);
    int one = 1;
    int a = socket(AF_INET6, SOCK_STREAM, 0), b = socket(AF_INET, SOCK_STREAM, 0);
    SAY(bind(a, (void *)&six, sizeof six));
    SAY(bind(b, (void *)&four, sizeof four));
    SAY(bind(b, (void *)&one_four, sizeof one_four));
    SAY(close(a));
    SAY(bind(b, (void *)&four, sizeof four));
    a = socket(AF_INET6, SOCK_STREAM, 0);
    SAY(bind(a, (void *)&six, sizeof six));
    SAY(bind(a, (void *)&mapped, sizeof mapped));
    SAY(setsockopt(a, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    SAY(bind(a, (void *)&mapped, sizeof mapped));
    SAY(bind(a, (void *)&six, sizeof six));
    SAY(setsockopt(a, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    SAY(listen(a, 4));
    SAY(listen(b, 4));
    struct pollfd p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
    poll(p, 2, 0);
    SAY(peer("connect6 %d", port));
    SAY(ready(a, POLLIN));
    SAY(peer("connect %d", port));
    SAY(ready(b, POLLIN));
}

CASE(v6_v4_listener_goes_before_one_for_both)
{
    struct sockaddr_in four = address("0.0.0.0", port);
    struct sockaddr_in6 six = address6("::", port);
    int one = 1;
    int a = tcp6(), b = tcp();
    setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    SAY(bind(a, (void *)&six, sizeof six));
    SAY(bind(b, (void *)&four, sizeof four));
    SAY(listen(a, 4));
    SAY(listen(b, 4));
    struct pollfd p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
    poll(p, 2, 0);
    SAY(peer("connect %d", port));
    SAY(ready(b, POLLIN));
    SAY(peer("connect6 %d", port));
    SAY(ready(a, POLLIN));
}

static void set_and_get(int fd, const char *what, int level, int name, int value)
{
    int set = setsockopt(fd, level, name, &value, sizeof value) ? errno : 0;
    printf("%s %d: %s, is %d\n", what, value, set ? strerrorname_np(set) : "0", number_of(fd, level, name));
}

static void all_options(int fd)
{
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS));
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_TCLASS));
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER));
    SAY(number_of(fd, IPPROTO_IPV6, 70 /* IPV6_AUTOFLOWLABEL */));
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_MTU));
    set_and_get(fd, "hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
    set_and_get(fd, "hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256);
    set_and_get(fd, "hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1);
    set_and_get(fd, "class", IPPROTO_IPV6, IPV6_TCLASS, 0xb8);
    set_and_get(fd, "class", IPPROTO_IPV6, IPV6_TCLASS, 0x03);
    set_and_get(fd, "class", IPPROTO_IPV6, IPV6_TCLASS, 256);
    set_and_get(fd, "class", IPPROTO_IPV6, IPV6_TCLASS, -1);
    set_and_get(fd, "discover", IPPROTO_IPV6, IPV6_MTU_DISCOVER, 2);
    set_and_get(fd, "discover", IPPROTO_IPV6, IPV6_MTU_DISCOVER, 9);
    set_and_get(fd, "label", IPPROTO_IPV6, 70, 0);
    set_and_get(fd, "only", IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_and_get(fd, "tos", IPPROTO_IP, IP_TOS, 0x10);
    set_and_get(fd, "ttl", IPPROTO_IP, IP_TTL, 7);
}

CASE(v6_options_of_a_fresh_socket)
{
    /* Until it has answered, the peer may still be a copy of this program, with all that it holds. */
    peer("listen6 %d", port);
    all_options(tcp6());
}

CASE(v6_options_of_a_connection)
{
    int fd = tcp6();
    peer("listen6 %d", port);
    SAY(connect_to(fd, peer_ip6, port));
    all_options(fd);
}

CASE(v6_options_of_an_accepted_connection)
{
    int fd = listener6("::", -1);
    SAY(peer("connect6 %d", port));
    all_options(accept(fd, NULL, NULL));
}

CASE(v6_options_of_a_v4_socket)
{
    int fd = client();
    set_and_get(fd, "hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
    set_and_get(fd, "only", IPPROTO_IPV6, IPV6_V6ONLY, 1);
    SAY(number_of(fd, IPPROTO_IPV6, IPV6_MTU));
    SAY(number_of(fd, SOL_SOCKET, SO_DOMAIN));
}

static int udp6(const char *ip)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a = address6(ip, port);
    if (bind(fd, (void *)&a, sizeof a))
        printf("bind: %s\n", strerrorname_np(errno));
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 0);
    return fd;
}

static void heard(int fd)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    char text[64];
    memset(&a, 0xff, sizeof a);
    events("poll", ready(fd, POLLIN));
    SAY(recvfrom(fd, text, sizeof text, MSG_DONTWAIT, (void *)&a, &len));
    show("from", &a, len);
}

CASE(v6_datagrams_of_both_families)
{
    int fd = udp6("::");
    struct sockaddr_in6 six = address6(peer_ip6, port + 1), mapped = address6("::ffff:10.77.0.2", port + 1);
    struct sockaddr_in four = address(peer_ip, port + 1);
    SAY(peer("udp6 %d", port + 1));
    SAY(sendto(fd, "abc", 3, 0, (void *)&six, sizeof six));
    SAY(peer("urecv"));
    SAY(peer("usend6 %d 7", port));
    heard(fd);
    SAY(peer("udp %d", port + 1));
    SAY(sendto(fd, "abcd", 4, 0, (void *)&mapped, sizeof mapped));
    SAY(peer("urecv"));
    SAY(sendto(fd, "abcde", 5, 0, (void *)&four, sizeof four));
    SAY(peer("urecv"));
    SAY(peer("usend %d 8", port));
    heard(fd);
}

CASE(v6_datagrams_that_want_only_v6)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), one = 1;
    struct sockaddr_in6 a = address6("::", port), mapped = address6("::ffff:10.77.0.2", port + 1);
    struct sockaddr_in four = address(peer_ip, port + 1);
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    SAY(bind(fd, (void *)&a, sizeof a));
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 0);
    SAY(peer("udp6 %d", port + 1));
    SAY(peer("usend6 %d 7", port));
    heard(fd);
    SAY(sendto(fd, "abcd", 4, 0, (void *)&mapped, sizeof mapped));
    SAY(sendto(fd, "abcd", 4, 0, (void *)&four, sizeof four));
}

CASE(v6_datagrams_connected)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    char text[8];
    SAY(peer("udp6 %d", port + 1));
    SAY(connect_to(fd, peer_ip6, port + 1));
    names(fd);
    SAY(send(fd, "abc", 3, 0));
    SAY(peer("urecv6"));
    SAY(peer("ureply6 5"));
    SAY(ready(fd, POLLIN));
    SAY(recv(fd, text, sizeof text, MSG_DONTWAIT));
    SAY(connect_to(fd, peer_ip6, port + 2));
    SAY(send(fd, "abc", 3, 0));
    events("poll", ready(fd, POLLIN));
    SAY(send(fd, "abc", 3, 0));
}

CASE(v6_datagrams_from_an_unbound_socket)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 six = address6(peer_ip6, port + 1);
    SAY(peer("udp6 %d", port + 1));
    SAY(sendto(fd, "abc", 3, 0, (void *)&six, sizeof six));
    SAY(peer("urecv6"));
    names(fd);
    SAY(peer("ureply6 5"));
    heard(fd);
}

/* Lengths and errors, not values, of a connected socket and of one for datagrams. */
CASE(v6_options_of_every_number_are_told)
{
    int fds[] = { tcp6(), udp6("::") };
    SAY(connect_to(fds[0], peer_ip6, peer("listen6 %d", port) < 0 ? 0 : port));
    for (int kind = 0; kind < 2; kind++)
        for (int name = 0; name <= 82; name++) {
            char value[64];
            socklen_t len = sizeof value;
            int got = getsockopt(fds[kind], IPPROTO_IPV6, name, value, &len);
            printf("%d 41/%d: %s %u\n", kind, name, got ? strerrorname_np(errno) : "ok", got ? 0 : len);
        }
}

CASE(v6_options_of_every_number_are_taken)
{
    int fds[] = { tcp6(), udp6("::") };
    SAY(connect_to(fds[0], peer_ip6, peer("listen6 %d", port) < 0 ? 0 : port));
    for (int kind = 0; kind < 2; kind++)
        for (int name = 0; name <= 82; name++) {
            /* Fences (fences.c): IPV6_IPSEC_POLICY, IPV6_XFRM_POLICY, IPV6_MINHOPCOUNT, IPV6_UNICAST_IF. */
            int value = 1;
            if (kind == 0 && (name == 34 || name == 35 || name == 73 || name == 76))
                continue;
            int set = setsockopt(fds[kind], IPPROTO_IPV6, name, &value, sizeof value);
            printf("%d 41/%d: %s\n", kind, name, set ? strerrorname_np(errno) : "ok");
        }
}
