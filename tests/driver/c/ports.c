/* The ports on files and an array that stand for devices. */
#include <stdio.h>
#include <string.h>

#include "alloy_regs.h"
#include "ports/bare_metal.h"
#include "ports/linux.h"

#define CHECK(what) do { if (!(what)) { printf("line %d: %s\n", __LINE__, #what); return 1; } } while (0)

int main(int argc, char **argv)
{
    static uint32_t registers[1024];
    alloy_port port;
    alloy_linux l;
    alloy_engine engine;
    alloy_memory memory;
    CHECK(argc == 3);
    alloy_bare_metal(&port, (uintptr_t)registers);
    CHECK(alloy_open(&engine, &port) == ALLOY_NO_ENGINE);
    registers[ALLOY_ID / 4] = ALLOY_ID_VALUE;
    registers[ALLOY_VERSION / 4] = ALLOY_VERSION_VALUE;
    registers[ALLOY_DIGEST / 4] = 77;
    CHECK(alloy_open(&engine, &port) == ALLOY_OK && engine.digest == 77 && port.wait == NULL);
    alloy_watchdog(&engine, 99);
    CHECK(registers[ALLOY_WATCHDOG / 4] == 99);

    CHECK(alloy_linux_mem(&l, &port, "/no/such/device", 0) == -1);
    CHECK(alloy_linux_memory(&memory, "/no/such/device", 0, 4096) == -1 && memory.at == NULL);
    CHECK(alloy_linux_mem(&l, &port, argv[1], 4096) == 0);
    CHECK(alloy_open(&engine, &port) == ALLOY_OK && engine.digest == 78 && port.wait == NULL);
    alloy_watchdog(&engine, 98);
    alloy_linux_close(&l);
    alloy_linux_close(&l);
    CHECK(alloy_linux_memory(&memory, argv[1], 4096, 4096) == 0 && memory.address == 4096 && memory.bytes == 4096);
    memcpy(registers, memory.at, sizeof registers);
    CHECK(registers[ALLOY_WATCHDOG / 4] == 98);
    alloy_linux_forget(&memory);
    CHECK(memory.at == NULL);

    CHECK(alloy_linux_uio(&l, &port, argv[2], 10) == 0 && port.wait != NULL);
    CHECK(alloy_open(&engine, &port) == ALLOY_OK && engine.digest == 79);
    CHECK(port.wait(port.context) == 0 && port.read(port.context, 0) == 1);       /* the interrupt was switched on */
    while (port.wait(port.context) == 0) {}                                       /* nothing more to read */
    alloy_linux_close(&l);
    puts("all is well");
    return 0;
}
