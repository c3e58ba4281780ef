/* An engine under Linux, from user space: registers through UIO (with interrupts) or /dev/mem (polling), memory that
 * the device tree reserves, through /dev/mem. Memory is mapped uncached (O_SYNC), so that no cache has to be seen to.
 */
#ifndef ALLOY_LINUX_H
#define ALLOY_LINUX_H

#include "alloy.h"

typedef struct {
    int file, timeout_ms;
    volatile uint32_t *registers;
} alloy_linux;

/* 0, or -1 with errno. device: "/dev/uio0"; timeout_ms: what alloy_wait waits for an interrupt, -1: for ever. */
int alloy_linux_uio(alloy_linux *linux_port, alloy_port *port, const char *device, int timeout_ms);

/* The same for registers at a physical address; device: "/dev/mem". alloy_wait polls. */
int alloy_linux_mem(alloy_linux *linux_port, alloy_port *port, const char *device, uint64_t address);

/* Map reserved memory at a physical address, a multiple of 4096, of device "/dev/mem". 0, or -1 with errno. */
int alloy_linux_memory(alloy_memory *memory, const char *device, uint64_t address, size_t bytes);

void alloy_linux_forget(alloy_memory *memory);
void alloy_linux_close(alloy_linux *linux_port);

#endif
