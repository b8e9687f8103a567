/* What is called, and what is replaced: functions of their own unit, none of which can be inlined. */
#include "work.h"

#define WORK(n) int work_##n(int x) { return 3 * x + STEP + n; }

#ifndef STEP
#define STEP 1
#endif

WORK(0) WORK(1) WORK(2) WORK(3) WORK(4) WORK(5) WORK(6) WORK(7) WORK(8) WORK(9) WORK(10)
