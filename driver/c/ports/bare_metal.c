#include "bare_metal.h"

static uint32_t get(void *context, uint32_t offset)
{
    uint32_t value = ((volatile uint32_t *)context)[offset / 4];
    __sync_synchronize();       /* memory is read after the engine has said that it may be */
    return value;
}

static void set(void *context, uint32_t offset, uint32_t value)
{
    __sync_synchronize();       /* what was written to memory is there before the engine is told */
    ((volatile uint32_t *)context)[offset / 4] = value;
}

void alloy_bare_metal(alloy_port *port, uintptr_t registers)
{
    port->context = (void *)registers;
    port->read = get;
    port->write = set;
    port->wait = NULL;
    port->clean = NULL;
    port->invalidate = NULL;
}
