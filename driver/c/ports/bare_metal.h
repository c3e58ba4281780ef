/* An engine whose registers a processor without an operating system reads and writes at an address. */
#ifndef ALLOY_BARE_METAL_H
#define ALLOY_BARE_METAL_H

#include "alloy.h"

/* A port that polls and sees to no cache. Set its wait to a function that sleeps until the interrupt (wfi), and clean
 * and invalidate to those of the processor where memory is cached; their first argument is the address of the
 * registers. */
void alloy_bare_metal(alloy_port *port, uintptr_t registers);

#endif
