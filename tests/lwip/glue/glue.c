/* lwIP's raw API as a handful of calls on numbered connections. One netif, one thread; time is what we are told.
 * The interface is a ring of frames that were sent and not yet fetched. */

#include <string.h>

#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"

#define CONNECTIONS 16384
#define RING 16384

enum { OPEN = 1, ENDED = 2, FAILED = 4 };

struct connection {
    struct tcp_pcb *pcb;
    struct pbuf *queue;
    u32_t offset;
    u8_t state;
};

static struct connection connections[CONNECTIONS];
static u32_t used;
static u32_t unused[CONNECTIONS];
static u32_t unused_count;
static u32_t accepted[CONNECTIONS];
static u32_t accepted_head, accepted_tail;
static struct pbuf *ring[RING];
static u32_t ring_head, ring_tail;
static struct netif interface;
static struct tcp_pcb *listener;
static u32_t now_ms;
static unsigned int random_state = 1;

unsigned int rr_lwip_random(void)
{
    random_state = random_state * 1103515245u + 12345u;
    return random_state >> 1;
}

u32_t sys_now(void)
{
    return now_ms;
}

static err_t link_output(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    if (ring_tail - ring_head == RING) {
        return ERR_MEM;
    }
    pbuf_ref(p);
    ring[ring_tail++ % RING] = p;
    return ERR_OK;
}

static err_t interface_init(struct netif *netif)
{
    netif->name[0] = 'r';
    netif->name[1] = 'r';
    netif->mtu = 1500;
    netif->hwaddr_len = 6;
    netif->output = etharp_output;
    netif->linkoutput = link_output;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* Addresses are in network order. */
void rr_lwip_open(const u8_t *mac, u32_t address, u32_t mask, u32_t gateway, const u8_t *gateway_mac)
{
    static int initialised;
    ip4_addr_t own = {address}, net = {mask}, router = {gateway};
    struct eth_addr link;
    if (!initialised) {
        lwip_init();
        initialised = 1;
    }
    netif_add(&interface, &own, &net, &router, NULL, interface_init, ethernet_input);
    memcpy(interface.hwaddr, mac, 6);
    netif_set_default(&interface);
    netif_set_up(&interface);
    memcpy(link.addr, gateway_mac, 6);
    etharp_add_static_entry(&router, &link);
}

static void drop_frames(void)
{
    while (ring_head != ring_tail) {
        pbuf_free(ring[ring_head++ % RING]);
    }
}

void rr_lwip_close(void)
{
    u32_t n;
    for (n = 0; n < used; n++) {
        struct connection *c = &connections[n];
        if (c->pcb) {
            tcp_arg(c->pcb, NULL);
            tcp_abort(c->pcb);
        }
        if (c->queue) {
            pbuf_free(c->queue);
        }
    }
    while (tcp_active_pcbs) {
        tcp_abort(tcp_active_pcbs);
    }
    while (tcp_tw_pcbs) {
        tcp_abort(tcp_tw_pcbs);
    }
    if (listener) {
        tcp_close(listener);
    }
    listener = NULL;
    drop_frames();
    netif_remove(&interface);
    memset(connections, 0, sizeof connections);
    used = unused_count = accepted_head = accepted_tail = 0;
}

static int take_slot(void)
{
    if (unused_count) {
        return (int)unused[--unused_count];
    }
    return used < CONNECTIONS ? (int)used++ : -1;
}

static err_t on_data(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct connection *c = arg;
    (void)pcb;
    (void)err;
    if (!c) {
        if (p) {
            pbuf_free(p);
        }
        return ERR_OK;
    }
    if (!p) {
        c->state |= ENDED;
    } else if (c->queue) {
        pbuf_cat(c->queue, p);
    } else {
        c->queue = p;
    }
    return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    struct connection *c = arg;
    (void)err;
    if (c) {
        c->pcb = NULL;
        c->state |= FAILED;
    }
}

static int adopt(struct tcp_pcb *pcb, u8_t state)
{
    int slot = take_slot();
    struct connection *c;
    if (slot < 0) {
        return -1;
    }
    c = &connections[slot];
    memset(c, 0, sizeof *c);
    c->pcb = pcb;
    c->state = state;
    tcp_arg(pcb, c);
    tcp_recv(pcb, on_data);
    tcp_err(pcb, on_error);
    tcp_nagle_disable(pcb);
    return slot;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    int slot;
    (void)arg;
    if (err != ERR_OK || !pcb) {
        return ERR_VAL;
    }
    slot = adopt(pcb, OPEN);
    if (slot < 0) {
        return ERR_MEM;
    }
    accepted[accepted_tail++ % CONNECTIONS] = (u32_t)slot;
    return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct connection *c = arg;
    (void)pcb;
    if (c && err == ERR_OK) {
        c->state |= OPEN;
    }
    return ERR_OK;
}

int rr_lwip_listen(u16_t port)
{
    struct tcp_pcb *pcb = tcp_new();
    if (!pcb || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK) {
        return -1;
    }
    listener = tcp_listen_with_backlog(pcb, 255);
    if (!listener) {
        return -1;
    }
    tcp_accept(listener, on_accept);
    return 0;
}

int rr_lwip_accept(void)
{
    return accepted_head == accepted_tail ? -1 : (int)accepted[accepted_head++ % CONNECTIONS];
}

int rr_lwip_connect(u32_t address, u16_t port, u16_t own_port)
{
    ip_addr_t to = IPADDR4_INIT(address);
    struct tcp_pcb *pcb = tcp_new();
    int slot;
    if (!pcb || tcp_bind(pcb, IP_ADDR_ANY, own_port) != ERR_OK) {
        return -1;
    }
    slot = adopt(pcb, 0);
    if (slot < 0 || tcp_connect(pcb, &to, port, on_connected) != ERR_OK) {
        return -1;
    }
    return slot;
}

u8_t rr_lwip_state(u32_t slot)
{
    return connections[slot].state;
}

/* Octets taken. */
u32_t rr_lwip_send(u32_t slot, const u8_t *bytes, u32_t len)
{
    struct tcp_pcb *pcb = connections[slot].pcb;
    u32_t taken = 0;
    if (!pcb) {
        return 0;
    }
    while (taken < len) {
        u32_t piece = LWIP_MIN(LWIP_MIN(len - taken, tcp_sndbuf(pcb)), 0xffff);
        if (!piece || tcp_write(pcb, bytes + taken, (u16_t)piece, TCP_WRITE_FLAG_COPY) != ERR_OK) {
            break;
        }
        taken += piece;
    }
    tcp_output(pcb);
    return taken;
}

/* Octets given. */
u32_t rr_lwip_recv(u32_t slot, u8_t *bytes, u32_t room)
{
    struct connection *c = &connections[slot];
    u32_t given = 0;
    while (c->queue && given < room) {
        struct pbuf *p = c->queue;
        u32_t piece = LWIP_MIN(p->len - c->offset, room - given);
        memcpy(bytes + given, (u8_t *)p->payload + c->offset, piece);
        given += piece;
        c->offset += piece;
        if (c->offset == p->len) {
            c->offset = 0;
            c->queue = p->next;
            if (p->next) {
                pbuf_ref(p->next);
            }
            pbuf_free(p);
        }
    }
    if (c->pcb) {
        u32_t left = given;
        while (left) {
            u16_t piece = (u16_t)LWIP_MIN(left, 0xffff);
            tcp_recved(c->pcb, piece);
            left -= piece;
        }
    }
    return given;
}

/* A FIN follows what was sent; the slot lives on until it is forgotten. */
void rr_lwip_finish(u32_t slot)
{
    struct connection *c = &connections[slot];
    if (c->pcb) {
        tcp_shutdown(c->pcb, 0, 1);
    }
}

/* The application is done with the connection and its number. */
void rr_lwip_forget(u32_t slot)
{
    struct connection *c = &connections[slot];
    if (c->pcb) {
        tcp_arg(c->pcb, NULL);
        tcp_err(c->pcb, NULL);
        if (tcp_close(c->pcb) != ERR_OK) {
            tcp_abort(c->pcb);
        }
        c->pcb = NULL;
    }
    if (c->queue) {
        pbuf_free(c->queue);
        c->queue = NULL;
    }
    unused[unused_count++] = slot;
}

/* A frame as a driver holds it before it is handed in. */
struct pbuf *rr_lwip_frame(const u8_t *bytes, u16_t len)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, len, PBUF_POOL);
    if (p) {
        pbuf_take(p, bytes, len);
    }
    return p;
}

void rr_lwip_input(struct pbuf *p)
{
    if (interface.input(p, &interface) != ERR_OK) {
        pbuf_free(p);
    }
}

/* The next frame sent; its length, zero when there is none. */
u32_t rr_lwip_output(u8_t *bytes, u32_t room)
{
    struct pbuf *p;
    u32_t len;
    if (ring_head == ring_tail) {
        return 0;
    }
    p = ring[ring_head++ % RING];
    len = pbuf_copy_partial(p, bytes, (u16_t)LWIP_MIN(room, 0xffff), 0);
    pbuf_free(p);
    return len;
}

u32_t rr_lwip_waiting(void)
{
    return ring_tail - ring_head;
}

void rr_lwip_time(u32_t ms)
{
    now_ms = ms;
    sys_check_timeouts();
}

u32_t rr_lwip_pcb_size(void)
{
    return sizeof(struct tcp_pcb);
}
