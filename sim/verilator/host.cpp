// The functions of host.h on the DRAM model of bus.h.
#include "bus.h"
#include "host.h"

static Fault &fault_of(unsigned channel) { return channel < reads.size() ? reads[channel].fault : writes.fault; }

void host_open(uint8_t *memory, uint64_t at, size_t bytes, unsigned seed, double pauses, unsigned latency) {
    Verilated::randReset(2);
    Verilated::randSeed((int)seed);
    top = new Valloy;
    dram = memory;
    base = window_base = at;
    dram_bytes = window_bytes = bytes;
    dice.seed(seed);
    stall = pauses;
    now = 0;
    violation.clear();
    bind(*top, reads, writes);
    for (auto &r : reads) { r.rate = PORT_BYTES; r.latency = latency; }
    writes.rate = PORT_BYTES;
    writes.latency = latency;
    writes.fault = Fault();
    host_reset();
}

void host_close() {
    delete top;
    reads.clear();
}

void host_reset() {
    reset();
    for (auto &r : reads) r.beat = 0;
    writes.beat = 0;
}

uint32_t host_read(uint32_t offset) { return get(offset); }

void host_write(uint32_t offset, uint32_t value) {
    if (offset == CTRL && (value & 1) && !(get(STATUS) & 1)) {
        window_base = get(BASE_LO) | (uint64_t)get(BASE_HI) << 32;
        window_bytes = get(SIZE);
        if (window_base < base || window_base + window_bytes > base + dram_bytes) window_base = base, window_bytes = 0;
        trace.clear();
    }
    put(offset, value);
}

void host_wait(uint64_t cycles) {
    for (; cycles && !top->irq; cycles--) tick();
}

int host_irq() { return top->irq; }

void host_fault(unsigned channel, int64_t beat, unsigned kind) { fault_of(channel) = {(uint64_t)beat, kind}; }

void host_dead(int now_dead) { dead = now_dead; }

uint64_t host_beats(unsigned channel) { return channel < reads.size() ? reads[channel].beat : writes.beat; }

uint64_t host_now(void) { return now; }

const char *host_violation() { return violation.c_str(); }
