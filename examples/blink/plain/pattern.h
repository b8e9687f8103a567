/* How a light moves along a strip of lamps. */
#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>

#define STRIP_LAMPS 32

/* Returns the next position, 0 to STRIP_LAMPS - 1, after `position`. */
typedef int pattern_step(int position);

struct pattern {
    const char *name;
    pattern_step *step;
};

/* In flash. */
extern const struct pattern patterns[];
extern const size_t pattern_count;

#endif
