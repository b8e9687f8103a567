/* A variable with fields of many types, for `read` and `write` by symbol. */
#include "app.h"

#include <stdbool.h>

enum mode { MODE_IDLE, MODE_RUN = 5, MODE_STOP };

struct point {
    int16_t x, y;
};

struct record {
    uint8_t small;
    int64_t wide;
    float ratio;
    bool on;
    enum mode mode;
    char name[12];
    struct point path[3];
    uint32_t low : 3;
    int32_t high : 5;
    int (*call)(int);
};

struct record record = {
    .small = 200,
    .wide = -5000000000,
    .ratio = 0.25f,
    .on = true,
    .mode = MODE_RUN,
    .name = "first",
    .path = { { 1, -2 }, { 3, -4 }, { 5, -6 } },
    .low = 5,
    .high = -9,
    .call = value,
};

__attribute__((noinline)) int typed_call(int x)
{
    return record.on ? record.call(x) + record.path[1].y : 0;
}
