#include "string.h"

#include <stdint.h>

void *memcpy(void *to, const void *from, size_t bytes)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    if ((((uintptr_t)t | (uintptr_t)f) & 3) == 0)
        for (; bytes >= 4; bytes -= 4, t += 4, f += 4)
            *(uint32_t *)(void *)t = *(const uint32_t *)(const void *)f;
    while (bytes--)
        *t++ = *f++;
    return to;
}

void *memset(void *at, int value, size_t bytes)
{
    uint8_t *a = at;
    while (bytes--)
        *a++ = (uint8_t)value;
    return at;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (; bytes--; x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

void *memchr(const void *at, int value, size_t bytes)
{
    const uint8_t *a = at;
    for (; bytes--; a++)
        if (*a == (uint8_t)value)
            return (void *)(uintptr_t)a;
    return NULL;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}
