/* Words of program files, and their checksum. */
#ifndef ALLOY_TEST_WORDS_H
#define ALLOY_TEST_WORDS_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t crc(const uint8_t *data, size_t bytes)
{
    uint32_t sum = ~0u;
    while (bytes--) {
        sum ^= *data++;
        for (int i = 0; i < 8; i++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
    }
    return ~sum;
}

static inline void store(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t word(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
