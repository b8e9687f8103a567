#ifndef CONTROL_H
#define CONTROL_H

/* Returns the heater's power, 0 to 100 percent, for a temperature and its target in tenths of a degree. */
int control_power(int temperature, int target);

#endif
