/* What lwIP wants to know of the compiler. */
#ifndef RINGROAD_ARCH_CC_H
#define RINGROAD_ARCH_CC_H

#include <stdlib.h>

#define LWIP_PLATFORM_DIAG(x) do { } while (0)
#define LWIP_PLATFORM_ASSERT(x) abort()
/* Port numbers and sequence numbers that repeat: a failure must. */
unsigned int rr_lwip_random(void);
#define LWIP_RAND() rr_lwip_random()

#endif
