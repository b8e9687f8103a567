/* The monitor's surroundings on the host: its map, buffers and boot, and its checked state. */
#ifndef STATE_H
#define STATE_H

#include <stdint.h>
#include <stdnoreturn.h>

/* Gives the monitor its map and buffers; once, after the command line was read. */
void state_init(void);

/* What hf_main() of the target does: initialises, decides, starts the application or waits. */
noreturn void state_boot(void);

/* Puts noise where power loss loses it: all RAM, persistent words included. */
void state_power_lost(void);

/* Size of the monitor's checksummed state; XORs one byte of it. */
uint32_t state_size(void);
void state_trample(uint32_t offset, uint8_t bits);

#endif
