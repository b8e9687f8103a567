#ifndef APP_H
#define APP_H

#include <stdint.h>

struct seen {
    uint32_t turns;
    int direct;
    int same_unit;
    int tail;
    int recursion;
    int local_recursion;
    int pointer;
    int table;
    int equal;
    int state;
    int heap;
    uint32_t ticks;
    int irq;
    int typed;
};

extern volatile struct seen seen;
extern int counter;
extern int (*const actions[3])(int);

int value(int x);
int same_unit(int x);
int tail(int x);
int depth(int n);
int local_depth(int n);
int state_step(void);
int slow(int x);
int typed_call(int x);
int pair_left(void);
int pair_right(void);
void tick_start(void);

#endif
