// A processor that another program plays: commands on standard input, answers on standard output, memory in a file that
// both map. See sim/processor.py.
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include "host.h"

int main(int, char **argv) {
    uint64_t base = std::strtoull(argv[2], nullptr, 0), bytes = std::strtoull(argv[3], nullptr, 0);
    int file = open(argv[1], O_RDWR);
    void *memory = file < 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) { std::perror(argv[1]); return 1; }
    host_open((uint8_t *)memory, base, bytes, (unsigned)std::atoi(argv[4]), std::atof(argv[5]), (unsigned)std::atoi(argv[6]));
    char what;
    unsigned long long a, b;
    while (std::scanf(" %c %llu %llu", &what, &a, &b) == 3) {
        unsigned long long answer = 0;
        if (what == 'r') answer = host_read((uint32_t)a);
        else if (what == 'w') host_write((uint32_t)a, (uint32_t)b);
        else if (what == 'i') { host_wait(a); answer = host_irq(); }
        else if (what == 'z') host_reset();
        else if (what == 'b') answer = host_beats((unsigned)a);
        else if (what == 'f') host_fault((unsigned)(a / 4), b == ~0ull ? HOST_NEVER : (int64_t)(host_beats((unsigned)(a / 4)) + b), (unsigned)(a % 4));
        else if (what == 't') answer = host_now();
        std::printf("%llu %s\n", answer, host_violation());
        std::fflush(stdout);
    }
    host_close();
}
