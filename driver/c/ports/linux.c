#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGISTER_BYTES = 4096 };

static uint32_t get(void *context, uint32_t offset)
{
    uint32_t value = ((const alloy_linux *)context)->registers[offset / 4];
    __sync_synchronize();       /* memory is read after the engine has said that it may be */
    return value;
}

static void set(void *context, uint32_t offset, uint32_t value)
{
    __sync_synchronize();       /* what was written to memory is there before the engine is told */
    ((const alloy_linux *)context)->registers[offset / 4] = value;
}

/* UIO switches an interrupt off when it comes, and on when a 1 is written. */
static int wait_for_interrupt(void *context)
{
    const alloy_linux *l = context;
    struct pollfd p = {l->file, POLLIN, 0};
    uint32_t value = 1;
    int ready;
    if (write(l->file, &value, sizeof value) != (ssize_t)sizeof value)
        return -1;
    do
        ready = poll(&p, 1, l->timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return -1;
    return read(l->file, &value, sizeof value) == (ssize_t)sizeof value ? 0 : -1;
}

/* A piece of a file in memory, NULL with errno; the file stays open if its number is wanted. */
static void *map(const char *device, uint64_t at, size_t bytes, int *file)
{
    int opened = open(device, O_RDWR | O_SYNC), kept;
    void *found;
    if (opened < 0)
        return NULL;
    found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, opened, (off_t)at);
    kept = errno;
    if (file != NULL && found != MAP_FAILED)
        *file = opened;
    else
        close(opened);
    errno = kept;
    return found == MAP_FAILED ? NULL : found;
}

static int open_port(alloy_linux *l, alloy_port *port, const char *device, uint64_t address)
{
    void *found;
    memset(l, 0, sizeof *l);
    memset(port, 0, sizeof *port);
    l->file = -1;
    found = map(device, address, REGISTER_BYTES, &l->file);
    if (found == NULL)
        return -1;
    l->registers = found;
    port->context = l;
    port->read = get;
    port->write = set;
    return 0;
}

int alloy_linux_uio(alloy_linux *linux_port, alloy_port *port, const char *device, int timeout_ms)
{
    if (open_port(linux_port, port, device, 0) != 0)
        return -1;
    linux_port->timeout_ms = timeout_ms;
    port->wait = wait_for_interrupt;
    return 0;
}

int alloy_linux_mem(alloy_linux *linux_port, alloy_port *port, const char *device, uint64_t address)
{
    return open_port(linux_port, port, device, address);
}

int alloy_linux_memory(alloy_memory *memory, const char *device, uint64_t address, size_t bytes)
{
    void *found = map(device, address, bytes, NULL);
    memset(memory, 0, sizeof *memory);
    if (found == NULL)
        return -1;
    memory->at = found;
    memory->address = address;
    memory->bytes = bytes;
    return 0;
}

void alloy_linux_forget(alloy_memory *memory)
{
    if (memory->at != NULL)
        munmap(memory->at, memory->bytes);
    memset(memory, 0, sizeof *memory);
}

void alloy_linux_close(alloy_linux *linux_port)
{
    if (linux_port->registers != NULL)
        munmap((void *)(uintptr_t)linux_port->registers, REGISTER_BYTES);
    if (linux_port->file >= 0)
        close(linux_port->file);
    memset(linux_port, 0, sizeof *linux_port);
    linux_port->file = -1;
}
