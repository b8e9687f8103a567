#include "pattern.h"

static int run(int position)
{
    return (position + 1) % STRIP_LAMPS;
}

static int bounce(int position)
{
    static int direction = 1;

    if (position + direction < 0 || position + direction >= STRIP_LAMPS) {
        direction = -direction;
    }
    return position + direction;
}

const struct pattern patterns[] = {
    {"run", run},
    {"bounce", bounce},
};
const size_t pattern_count = sizeof patterns / sizeof patterns[0];
