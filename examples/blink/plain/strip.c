#include "strip.h"

/* Moves after which the next pattern takes over. */
#define MOVES_PER_PATTERN 256u

static volatile int position;
static volatile uint32_t moves;
static volatile size_t active;

void strip_advance(void)
{
    position = patterns[active].step(position);
    moves = moves + 1u;
    if (moves % MOVES_PER_PATTERN == 0u) {
        active = (active + 1u) % pattern_count;
    }
}

void strip_draw(char picture[STRIP_LAMPS + 1])
{
    int lamp;

    for (lamp = 0; lamp < STRIP_LAMPS; lamp++) {
        picture[lamp] = '.';
    }
    picture[STRIP_LAMPS] = '\0';
    picture[position] = 'O';
}

uint32_t strip_moves(void)
{
    return moves;
}

const char *strip_pattern(void)
{
    return patterns[active].name;
}
