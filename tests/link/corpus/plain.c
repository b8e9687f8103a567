/* What C code makes a compiler emit relocations for. Compiled for every core, level and code model. */
#include <stdarg.h>

extern int ext, f1(int), f2(const char *, ...), maybe(int) __attribute__((weak));
extern int maybe_data[] __attribute__((weak));
extern const int cext;
extern double wide;
extern float narrow;
struct big {
    int x[40];
};
extern struct big outside;
static int count, start = 3, array[40];
int common_var;
char large[100000];

int dense(int a, int b)
{
    switch (a) {
    case 0: return f1(b);
    case 1: return b * 3;
    case 2: return ext;
    case 3: return f2("x%d", b);
    case 4: return b / 7;
    case 5: return count++;
    case 6: return b << 3;
    case 7: return 99;
    case 8: return array[b];
    default: return 0;
    }
}

#define CASE(n)                \
    case n:                    \
        ext += (n) * (n);      \
        array[(n)&31] ^= f1(n); \
        break;
int wide_cases(int a)
{
    switch (a) {
        CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)
        CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20)
    }
    return a;
}

const char *strings(int a)
{
    static const char *const table[] = {"a", "bb", "ccc", "dddd"};
    return table[a & 3];
}

double doubles(double x, float y) { return x * y + wide / narrow + 3.14159265358979 + (double)start; }
float floats(float a) { return a * 1.5f + 2.25f; }
unsigned long long to_integer(double d) { return (unsigned long long)d; }
_Complex float complexes(_Complex float a, _Complex float b) { return a * b; }
long long longs(long long a, long long b) { return a / b + a % b + (a << b); }

int (*pointer)(int) = f1;
int *data_pointer = &ext;
int *inside = &array[3];
char *far_inside = &large[70000];
const void *const table[] = {(void *)dense, &ext, "literal", array + 5, (void *)f1, large + 65536};
void *self(void) { return (void *)self; }
const char *name(void) { return __func__; }

int tail(int a) { return f1(a + 1); }
int conditional_tail(int a)
{
    if (a > 3)
        return f1(a);
    if (a == 1)
        return maybe(2);
    return dense(a, 1);
}
int weak(void) { return maybe ? maybe(maybe_data[0]) : 0; }

int variadic(int n, ...)
{
    va_list l;
    int sum = 0;
    va_start(l, n);
    while (n--)
        sum += va_arg(l, int);
    va_end(l);
    return sum;
}

int computed_goto(int i)
{
    static void *labels[] = {&&a, &&b, &&c};
    goto *labels[i];
a:
    return f1(1);
b:
    return ext;
c:
    return count;
}

struct big copies(struct big *p)
{
    struct big b = *p;
    b.x[3] = ext;
    return b;
}
struct big returns(void) { return outside; }
void clears(struct big *p) { *p = (struct big){{0}}; }
void on_stack(int n)
{
    char b[n];
    f2(b);
}

int recursive(int n) { return n < 2 ? n : recursive(n - 1) + recursive(n - 2); }
int tail_recursive(int n, int a) { return n ? tail_recursive(n - 1, a * n) : a; }
static __attribute__((noinline)) int local(int a) { return f1(a) * 3; }
int calls_local(int a) { return local(a) + local(a + 1); }
int (*local_pointer(void))(int) { return local; }

__attribute__((cold)) void cold(int);
int has_cold_part(int a)
{
    if (__builtin_expect(a == 77, 0)) {
        cold(a);
        f2("bad %d\n", a);
        __builtin_trap();
    }
    return a + cext;
}
int *into_common(void) { return &common_var + 2; }
char *into_large(int i) { return &large[70000 + i]; }
int peripheral(void) { return *(volatile int *)0x40000000; }
