// What Verilator's writer of FST files asks of LZ4, without the library: a valid block of literals, not compressed.
#pragma once
#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char *source, char *target, int size, int room) {
    if (room < LZ4_compressBound(size)) return 0;
    char *at = target;
    *at++ = (char)((size < 15 ? size : 15) << 4);       // token: the number of literals, no match
    if (size >= 15) {
        int left = size - 15;
        for (; left >= 255; left -= 255) *at++ = (char)255;
        *at++ = (char)left;
    }
    std::memcpy(at, source, size);
    return (int)(at - target) + size;
}
