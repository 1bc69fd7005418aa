/* Fences that only the kernel puts around a socket hold: it hears no more than it would there. */
#include "case.h"
#include <linux/filter.h>
#include <net/if.h>

/* A bound socket behind a fence, of both protocols; the peer knocks at both. So many of them hear it, the stream first. */
static void knock(int (*fence)(int fd, int stream), int hear)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    int stream = tcp(), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    printf("fences %d %d\n", fence(stream, 1), fence(datagrams, 0));
    SAY(bind(stream, (void *)&a, sizeof a));
    SAY(listen(stream, 1));
    SAY(bind(datagrams, (void *)&a, sizeof a));
    struct pollfd both[] = { { stream, POLLIN }, { datagrams, POLLIN } };
    poll(both, 2, 0);
    SAY(peer("connect %d", port));
    SAY(peer("udp %d", port));
    SAY(peer("usend %d 5", port));
    /* What came before would be there. */
    SAY(peer("usend %d 5", port));
    for (int i = 0; i < hear; i++)
        ready(both[i].fd, POLLIN);
    printf("%d\n", poll(both, 2, 100));
}

static int to_loopback(int fd, int stream)
{
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
}

CASE(a_socket_bound_to_another_interface_hears_nothing_of_this_one)
{
    knock(to_loopback, 0);
}

static int to_loopback_by_number(int fd, int stream)
{
    int one = if_nametoindex("lo");
    return setsockopt(fd, SOL_SOCKET, 62, &one, sizeof one);
}

CASE(a_socket_bound_to_another_interface_by_its_number_hears_nothing_of_this_one)
{
    knock(to_loopback_by_number, 0);
}

static int to_this_one(int fd, int stream)
{
    struct if_nameindex *all = if_nameindex();
    int set = -1;
    for (struct if_nameindex *i = all; i->if_index; i++)
        if (strcmp(i->if_name, "lo"))
            set = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, i->if_name, strlen(i->if_name) + 1);
    if_freenameindex(all);
    return set;
}

CASE(a_socket_bound_to_this_interface_is_heard)
{
    knock(to_this_one, 2);
}

static int for_nobody(int fd, int stream)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = { 1, &drop };
    return stream ? 0 : setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

CASE(a_socket_whose_filter_drops_all_hears_nothing)
{
    knock(for_nobody, 1);
}

/* A fence around a connection that is open: here it cannot be, and nobody may believe that it is. */
CASE(what_takes_a_fence_away_is_taken)
{
    int fd = server(), none = 0;
    SAY(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 1));
    SAY(setsockopt(fd, SOL_IP, IP_MINTTL, &none, sizeof none));
    SAY(setsockopt(fd, SOL_SOCKET, 62, &none, sizeof none));
}

CASE(a_filter_that_comes_late_holds_too)
{
    int fd = udp();
    struct pollfd p = { fd, POLLIN };
    poll(&p, 1, 0);
    SAY(for_nobody(fd, 0));
    SAY(peer("udp %d", port));
    SAY(peer("usend %d 5", port));
    printf("%d\n", poll(&p, 1, 100));
    int none = 0;
    SAY(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
    SAY(peer("usend %d 5", port));
    SAY(ready(fd, POLLIN) & POLLIN);
}
