#ifndef MAIN_H
#define MAIN_H

#include <setjmp.h>

extern jmp_buf main_power_on; /* where every reset starts */

#endif
