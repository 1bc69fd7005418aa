/* The driver's handles, protection domains, registered memory, what the adapter can do. */
#include "adapter.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HANDLES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* What adapter a handle was last used for, plus one. */
static unsigned char models[HANDLES];
/* The adapter's number of the next page; 0 is none. */
static uint64_t next_page = 0x100;

/* Another, to be refused, is built with another name. */
#ifndef STAND_IN_VERSION
#define STAND_IN_VERSION "ringroad-stand-in-1"
#endif

const char* ef_vi_version_str(void) { return STAND_IN_VERSION; }

/* A real adapter would do something that nobody can foresee. */
void stand_in_misuse(const char* what, ...)
{
  va_list list;
  va_start(list, what);
  fputs("ef_vi stand-in: ", stderr);
  vfprintf(stderr, what, list);
  fputc('\n', stderr);
  va_end(list);
  abort();
}

int ef_driver_open(ef_driver_handle* dh_out)
{
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return -errno;
  if (fd >= HANDLES) {
    close(fd);
    return -EMFILE;
  }
  *dh_out = fd;
  return 0;
}

int ef_driver_close(ef_driver_handle dh) { return close(dh) ? -errno : 0; }

static const struct {
  const char* prefix;
  enum model model;
} MODELS[] = {{"x2@", MODEL_X2}, {"sfn7@", MODEL_SFN7}, {"x3@", MODEL_X3}};

/* An interface whose alias begins as one of these names does (`ip link set road0 alias x2@wire0`) is that adapter's: the
 * kernel's end of it, as the adapter's driver shows it. */
static bool aliased(const char* name, char alias[NAME_MAX_BYTES])
{
  char path[128];
  snprintf(path, sizeof(path), "/sys/class/net/%s/ifalias", name);
  FILE* file = fopen(path, "re");
  if (!file) return false;
  bool read = fgets(alias, NAME_MAX_BYTES, file) != NULL;
  fclose(file);
  if (!read) return false;
  alias[strcspn(alias, "\n")] = '\0';
  for (size_t i = 0; i < sizeof(MODELS) / sizeof(MODELS[0]); i++)
    if (strncmp(alias, MODELS[i].prefix, strlen(MODELS[i].prefix)) == 0) return true;
  return false;
}

int ef_pd_alloc_by_name(ef_pd* pd, ef_driver_handle dh, const char* name, enum ef_pd_flags flags)
{
  enum model model = MODEL_X2;
  char alias[NAME_MAX_BYTES];
  if (aliased(name, alias)) name = alias;
  for (size_t i = 0; i < sizeof(MODELS) / sizeof(MODELS[0]); i++) {
    size_t len = strlen(MODELS[i].prefix);
    if (strncmp(name, MODELS[i].prefix, len) == 0) {
      model = MODELS[i].model;
      name += len;
      break;
    }
  }
  if (flags != EF_PD_DEFAULT) return -EOPNOTSUPP;
  if (strlen(name) >= NAME_MAX_BYTES || !stand_in_wire_exists(name)) return -ENODEV;
  struct stand_in_pd* adapter = calloc(1, sizeof(*adapter));
  if (!adapter) return -ENOMEM;
  adapter->model = model;
  strcpy(adapter->name, name);
  pd->adapter = adapter;
  pd->pd_resource_id = 1;
  pthread_mutex_lock(&lock);
  models[dh] = (unsigned char)(model + 1);
  pthread_mutex_unlock(&lock);
  return 0;
}

const char* ef_pd_interface_name(ef_pd* pd) { return pd->adapter->name; }

int ef_pd_free(ef_pd* pd, ef_driver_handle dh)
{
  (void)dh;
  if (pd->adapter->memory) stand_in_misuse("a protection domain is freed before its memory");
  free(pd->adapter);
  pd->adapter = NULL;
  return 0;
}

/* Page `i` of a memory has number `first + (i ^ 1)`: whoever goes on from one page to the next meets another one. */
int ef_memreg_alloc(ef_memreg* mr, ef_driver_handle dh, struct ef_pd* pd, ef_driver_handle pd_dh, void* p, size_t len)
{
  (void)dh;
  (void)pd_dh;
  if ((uintptr_t)p % EF_VI_NIC_PAGE_SIZE || len == 0 || len % 2048) return -EINVAL;
  struct stand_in_memory* memory = calloc(1, sizeof(*memory));
  uint64_t pages = (len + EF_VI_NIC_PAGE_SIZE - 1) / EF_VI_NIC_PAGE_SIZE;
  ef_addr* addrs = calloc(pages, sizeof(*addrs));
  if (!memory || !addrs) {
    free(memory);
    free(addrs);
    return -ENOMEM;
  }
  pthread_mutex_lock(&lock);
  memory->first = next_page;
  next_page += (pages + 2) & ~1ull;
  pthread_mutex_unlock(&lock);
  memory->base = p;
  memory->pages = pages;
  for (uint64_t i = 0; i < pages; i++) addrs[i] = (memory->first + (i ^ 1)) << EF_VI_NIC_PAGE_SHIFT;
  memory->next = pd->adapter->memory;
  pd->adapter->memory = memory;
  mr->mr_dma_addrs = addrs;
  mr->adapter = memory;
  mr->adapter_pd = pd->adapter;
  return 0;
}

int ef_memreg_free(ef_memreg* mr, ef_driver_handle dh)
{
  (void)dh;
  struct stand_in_memory** at = &mr->adapter_pd->memory;
  while (*at != mr->adapter) at = &(*at)->next;
  *at = mr->adapter->next;
  free(mr->adapter);
  free(mr->mr_dma_addrs);
  return 0;
}

/* Where the adapter's address is in this process. NULL when it is nobody's, or the bytes leave their page. */
char* stand_in_translate(struct stand_in_pd* pd, ef_addr addr, unsigned len)
{
  uint64_t page = addr >> EF_VI_NIC_PAGE_SHIFT, offset = addr & (EF_VI_NIC_PAGE_SIZE - 1);
  if (offset + len > EF_VI_NIC_PAGE_SIZE) return NULL;
  for (struct stand_in_memory* m = pd->memory; m; m = m->next) {
    uint64_t i = (page - m->first) ^ 1;
    if (page >= m->first && i < m->pages) return m->base + i * EF_VI_NIC_PAGE_SIZE + offset;
  }
  return NULL;
}

int ef_vi_capabilities_get(ef_driver_handle dh, int ifindex, enum ef_vi_capability cap, unsigned long* value)
{
  (void)ifindex;
  pthread_mutex_lock(&lock);
  int model = dh >= 0 && dh < HANDLES ? models[dh] - 1 : -1;
  pthread_mutex_unlock(&lock);
  if (model < 0) return -EINVAL;
  switch (cap) {
  case EF_VI_CAP_PIO:
    *value = model != MODEL_X3;
    return *value ? 0 : -EOPNOTSUPP;
  case EF_VI_CAP_PIO_BUFFER_SIZE:
    *value = model == MODEL_X3 ? 0 : 2048;
    return *value ? 0 : -EOPNOTSUPP;
  case EF_VI_CAP_RXQ_SIZES:
  case EF_VI_CAP_TXQ_SIZES:
    *value = 64 | 128 | 256 | 512 | 1024 | 2048;
    return 0;
  case EF_VI_CAP_EVQ_SIZES:
    *value = 128 | 256 | 512 | 1024 | 2048 | 4096;
    return 0;
  case EF_VI_CAP_CTPIO:
    *value = model != MODEL_SFN7;
    return *value ? 0 : -EOPNOTSUPP;
  case EF_VI_CAP_RX_FORCE_EVENT_MERGING:
    *value = 0;
    return -EOPNOTSUPP;
  default:
    return -ENOSYS;
  }
}

int ef_pio_alloc(ef_pio* pio, ef_driver_handle dh, struct ef_pd* pd, unsigned len_hint, ef_driver_handle pd_dh)
{
  (void)dh;
  (void)pd_dh;
  (void)len_hint;
  if (pd->adapter->model == MODEL_X3) return -EOPNOTSUPP;
  pio->pio_len = 2048;
  pio->pio_buffer = calloc(1, pio->pio_len);
  return pio->pio_buffer ? 0 : -ENOMEM;
}

int ef_pio_free(ef_pio* pio, ef_driver_handle dh)
{
  (void)dh;
  free(pio->pio_buffer);
  pio->pio_buffer = NULL;
  return 0;
}

int ef_pio_link_vi(ef_pio* pio, ef_driver_handle pio_dh, struct ef_vi* vi, ef_driver_handle vi_dh)
{
  (void)pio_dh;
  (void)vi_dh;
  if (vi->adapter->pio) return -EBUSY;
  vi->adapter->pio = pio;
  return 0;
}

int ef_pio_unlink_vi(ef_pio* pio, ef_driver_handle pio_dh, struct ef_vi* vi, ef_driver_handle vi_dh)
{
  (void)pio_dh;
  (void)vi_dh;
  if (vi->adapter->pio != pio) return -EINVAL;
  vi->adapter->pio = NULL;
  return 0;
}
