/* Program files with a few words changed at random and a checksum that is right: whatever alloy_parse lets through can be
 * loaded, filled with an image and read without a step outside its buffers. To be compiled with sanitizers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloy.h"
#include "alloy_regs.h"

#include "words.h"

enum { MOST = 1 << 24 };

static uint32_t digest;

static uint32_t read_register(void *context, uint32_t offset)
{
    (void)context;
    return offset == ALLOY_ID ? ALLOY_ID_VALUE : offset == ALLOY_VERSION ? ALLOY_VERSION_VALUE
         : offset == ALLOY_DIGEST ? digest : 0;
}

static void write_register(void *context, uint32_t offset, uint32_t value) { (void)context, (void)offset, (void)value; }

static const alloy_port port = {NULL, read_register, write_register, NULL, NULL, NULL};

static uint64_t dice = 88172645463325252u;

static uint32_t roll(uint32_t sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % sides);
}

static void change(uint8_t *data, const uint8_t *whole, size_t bytes)
{
    static const uint32_t values[] = {0, 1, 2, 3, 255, 256, 4095, 4096, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0xffffu};
    uint32_t tensors = word(whole + 64) * 64, at;
    switch (roll(4)) {
    case 0: at = 24 + 4 * roll(25); break;                              /* of the header */
    case 1: at = word(whole + 68) + 4 * roll(tensors / 4); break;       /* of a tensor */
    case 2: at = word(whole + word(whole + 68) + 56) + 2 * roll(3); break;      /* of the first order */
    default: at = roll((uint32_t)bytes - 4);
    }
    if (at + 4 > bytes)
        return;
    store(data + at, roll(2) ? values[roll(12)] : word(data + at) + roll(9) - 4);
}

/* Use all that can be used of a program. */
static void use(const alloy_program *p, size_t *used)
{
    alloy_memory m = {NULL, 4096, p->window_bytes_2};
    uint64_t line = (uint64_t)p->image_width * p->image_channels, image = line * p->image_height;
    alloy_loaded loaded;
    alloy_engine engine;
    alloy_tensor t;
    uint8_t *pixels;
    uint32_t number;
    if (m.bytes > MOST || image > MOST)
        return;
    digest = p->digest;
    m.at = malloc(m.bytes + 1);
    pixels = calloc(1, (size_t)image + 1);
    if (m.at == NULL || pixels == NULL || alloy_open(&engine, &port) != ALLOY_OK)
        exit(1);
    if (alloy_load(&engine, &loaded, p, &m) == ALLOY_OK) {
        for (unsigned bank = 0; bank < loaded.banks; bank++) {
            alloy_put_image(&engine, &loaded, bank, pixels, (size_t)line, p->image_channels);
            for (uint32_t i = 0; alloy_describe(p, i, &t) == ALLOY_OK; i++) {
                uint8_t *codes = malloc((size_t)t.channels * t.height * t.width);
                if (codes == NULL || alloy_get_codes(&loaded, bank, i, codes) != ALLOY_OK || strlen(t.name) > MOST)
                    exit(1);
                free(codes);
            }
            alloy_classify(&loaded, bank, &number);
        }
        for (uint32_t i = 0; i < p->classes; i++)
            if (strlen(alloy_class(p, i)) > MOST)
                exit(1);
        ++*used;
    }
    free(m.at);
    free(pixels);
}

int main(int argc, char **argv)
{
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    size_t bytes, used = 0, refused = 0;
    uint8_t *whole, *data;
    alloy_program p;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return 2;
    bytes = (size_t)ftell(file);
    rewind(file);
    whole = malloc(bytes);
    if (whole == NULL || fread(whole, 1, bytes, file) != bytes)
        return 2;
    fclose(file);
    for (long n = atol(argv[2]); n; n--) {
        size_t cut = roll(50) ? bytes : roll((uint32_t)bytes);
        data = malloc(cut + 1);     /* of its own size, so that a step beyond it is seen */
        if (data == NULL)
            return 2;
        memcpy(data, whole, cut);
        if (cut == bytes)
            for (uint32_t changes = 1 + roll(3); changes; changes--)
                change(data, whole, bytes);
        if (cut >= 24) {
            store(data + 16, (uint32_t)cut);
            store(data + 20, crc(data + 24, cut - 24));
        }
        data = realloc(data, cut ? cut : 1);
        if (alloy_parse(&p, data, cut) == ALLOY_OK)
            use(&p, &used);
        else
            refused++;
        free(data);
    }
    free(whole);
    printf("%u used, %u refused\n", (unsigned)used, (unsigned)refused);
    return 0;
}
