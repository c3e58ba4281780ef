/* What a processor beside the Verilated engine sees: registers, memory, the interrupt. For C and C++. */
#ifndef HOST_H
#define HOST_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HOST_NEVER = -1 };

/* Build the engine and reset it. memory: bytes of it are at bus address base; stall: probability that a channel pauses in
 * a cycle, drawn with seed; latency: cycles of an answer. */
void host_open(uint8_t *memory, uint64_t base, size_t bytes, unsigned seed, double stall, unsigned latency);
void host_close(void);
void host_reset(void);
uint32_t host_read(uint32_t offset);
void host_write(uint32_t offset, uint32_t value);
void host_wait(uint64_t cycles);            /* until the interrupt, or so many cycles */
int host_irq(void);
/* From now on: the beat of port 0, counted from the reset, that answers SLVERR; whether the memory answers at all. */
void host_bad(int64_t read_beat, int64_t write_beat);
void host_dead(int dead);
uint64_t host_beats(int writes);            /* of port 0 since the reset */
const char *host_violation(void);           /* first breach of the bus protocol, an access outside the window of the
                                             * program among them; empty if there was none */

#ifdef __cplusplus
}
#endif
#endif
