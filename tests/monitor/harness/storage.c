/* The monitor's headers declare both const, as they are on the target. Here the command line sets sizes, so
 * the definitions are variables, and the names that the monitor links to are aliases of them. They have a file
 * of their own: a compiler that sees both may take the zeros for the values. */
#include "hf_board.h"
#include "hf_monitor.h"

extern struct hf_board host_board;
extern struct hf_map host_map;

struct hf_board host_board;
struct hf_map host_map;
extern const struct hf_board hf_board __attribute__((alias("host_board")));
extern const struct hf_map hf_map __attribute__((alias("host_map")));
