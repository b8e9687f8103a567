/* The strip of lamps: state and picture. */
#ifndef STRIP_H
#define STRIP_H

#include <stdint.h>

#include "pattern.h"

/* Moves the light once. Called from the timer interrupt. */
void strip_advance(void);

/* Draws the strip, one character per lamp. */
void strip_draw(char picture[STRIP_LAMPS + 1]);

/* How often the light has moved since the board started. */
uint32_t strip_moves(void);

/* The pattern that runs. */
const char *strip_pattern(void);

#endif
