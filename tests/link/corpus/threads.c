/* Thread-local variables: defined here, elsewhere, and with an address taken. GCC has none of them in pure code. */
extern __thread int outside;
extern __thread char buffer[64];
__thread int defined = 7;
static __thread int hidden;

int all(void) { return outside++ + defined++ + hidden++; }
char *address(int i) { return &buffer[i + 5]; }
int *second(void)
{
    static __thread int counts[3];
    return &counts[2];
}
