/* The process around the device: a control channel on stdin and stdout, and, with --listen, the UART's
 * byte stream on a TCP port.
 *
 * Control: a request is a command byte, a u32 length and a payload; each gets one reply of a u32 count of
 * resets so far, a u32 length and the bytes that left the UART, a u32 length and the command's own result.
 * A reply is sent when the device has come to rest: all interrupts served, or rebooted and at rest again.
 *
 *   F u16 batch, bytes   the bytes arrive at the UART; the handler may run after each `batch` (0: at the end)
 *   P u32 address, bytes stores past all rules; G u32 address, u32 length: reads
 *   C 20 u32             registers and stacks of the interrupted thread
 *   L text               the application calls log_write
 *   I text               what an injected interrupt logs
 *   S u32 field, u32     sets a field (enum below); Q reads all counters
 *   B u32, u32           the address range answers with bus errors
 *   R u8                 the reset pin; 1: power off and on
 *   X 21 u32             the application faults
 *   K u32 reason, u8     the core parks the application; 1: it cannot be continued
 *   Z u32, u32           the application calls hf_parking (second word 2), hf_cleanup (0, 1) or hf_task (3, 4)
 *   T                    the board's periodic interrupt
 *   J                    reads what the monitor called: count, and entry and argument of each
 *   V u32 offset, u8     XORs a byte of the monitor's checked state
 *   M                    memory map and sizes
 */
#include "main.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "hf_monitor.h"
#include "state.h"

jmp_buf main_power_on;

#define REQUEST_MAX 0x40000u
static uint8_t request[REQUEST_MAX];
static uint8_t result[REQUEST_MAX] __attribute__((aligned(4)));
static uint32_t result_length;
static bool reply_due;

static int listener = -1;
static int client = -1;

static bool read_all(uint8_t *to, size_t length)
{
    while (length != 0) {
        ssize_t n = read(0, to, length);

        if (n <= 0) {
            return false;
        }
        to += n;
        length -= (size_t)n;
    }
    return true;
}

static void write_all(int fd, const uint8_t *from, size_t length)
{
    while (length != 0) {
        ssize_t n = write(fd, from, length);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            if (fd == 1) {
                exit(0);
            }
            return; /* the peer of the stream is gone: bytes on a line without listener */
        }
        from += n;
        length -= (size_t)n;
    }
}

static void put_u32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, 4);
}

static uint32_t get_u32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, 4);
    return value;
}

static void result_u32(uint32_t value)
{
    put_u32(result + result_length, value);
    result_length += 4;
}

static void send_reply(void)
{
    const uint8_t *bytes;
    size_t length = dev_sent(&bytes);
    uint8_t word[8];

    put_u32(word, dev.resets);
    put_u32(word + 4, (uint32_t)length);
    write_all(1, word, 8);
    write_all(1, bytes, length);
    put_u32(word, result_length);
    write_all(1, word, 4);
    write_all(1, result, result_length);
    dev_sent_clear();
    result_length = 0;
    reply_due = false;
}

static void feed(const uint8_t *bytes, uint32_t length, uint32_t batch)
{
    for (uint32_t i = 0; i < length; i++) {
        dev_receive(bytes[i]);
        dev_settle(batch != 0 && (i + 1) % batch == 0);
    }
}

static uint32_t *const fields[] = {
    &dev.micros,         &dev.cut_mask, &dev.cut_at,     &dev.cut_count,  &dev.seed,      &dev.flash_fail_at, &dev.lost,
    &dev.priority_flags, &dev.tx_budget, &dev.inject_at, &dev.inject_every, &dev.inject_count, &dev.inject_left,
    &dev.stuck,          &dev.process_stack, &dev.protection,
};

static void query(void)
{
    const uint32_t values[] = {
        dev.micros, dev.resets,     dev.reset_requested, dev.app_started, dev.erases,       dev.programs,
        dev.syncs,  dev.swaps,      dev.bus_errors,      dev.injected,    dev.inject_count, dev.cut_count,
        dev.parked, dev.left_by,
    };

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        result_u32(values[i]);
    }
    for (unsigned i = 0; i < STEP_KINDS; i++) {
        result_u32(dev.step[i]);
    }
}

static void command(uint8_t name, const uint8_t *p, uint32_t length)
{
    uint8_t *at;

    switch (name) {
    case 'F':
        feed(p + 2, length - 2, (uint32_t)p[0] | (uint32_t)p[1] << 8);
        return;
    case 'P':
        at = dev_alias(get_u32(p), length - 4);
        if (at == NULL) {
            dev_fail("control: poke of 0x%08x", get_u32(p));
        }
        memcpy(at, p + 4, length - 4);
        return;
    case 'G':
        at = dev_alias(get_u32(p), get_u32(p + 4));
        if (at == NULL || get_u32(p + 4) > sizeof result) {
            dev_fail("control: peek of 0x%08x", get_u32(p));
        }
        result_length = get_u32(p + 4);
        memcpy(result, at, result_length);
        return;
    case 'C':
        if (length != sizeof dev.context) {
            dev_fail("control: context");
        }
        memcpy(&dev.context, p, length);
        return;
    case 'L':
        hf_log_write((const char *)p, length);
        return;
    case 'I':
        dev.inject_length = length < sizeof dev.inject_text ? length : sizeof dev.inject_text;
        memcpy(dev.inject_text, p, dev.inject_length);
        return;
    case 'S':
        if (get_u32(p) >= sizeof fields / sizeof fields[0]) {
            dev_fail("control: field %u", get_u32(p));
        }
        *fields[get_u32(p)] = get_u32(p + 4);
        return;
    case 'Q':
        query();
        return;
    case 'B':
        dev_bus_error(get_u32(p), get_u32(p + 4));
        return;
    case 'R':
        dev_reset(length != 0 && p[0] != 0);
    case 'X':
        if (length != 4 * DEV_FAULT_WORDS) {
            dev_fail("control: fault");
        }
        memcpy(result, p, length); /* aligned */
        dev_fault((const uint32_t *)(const void *)result);
        return;
    case 'K':
        dev_park(get_u32(p), p[4] != 0);
        return;
    case 'Z':
        if (get_u32(p + 4) == 2) {
            hf_parking(get_u32(p));
        } else if (get_u32(p + 4) > 2) {
            hf_task(get_u32(p), get_u32(p + 4) - 3);
        } else {
            hf_cleanup(get_u32(p), get_u32(p + 4));
        }
        return;
    case 'T':
        hf_tick_interrupt();
        return;
    case 'J':
        result_u32(dev.calls);
        for (uint32_t i = 0; i < 2 * dev.calls && i < 2 * DEV_CALLS; i++) {
            result_u32(dev.call[i]);
        }
        return;
    case 'V':
        state_trample(get_u32(p), p[4]);
        return;
    case 'M':
        result_u32(DEV_FLASH_BASE);
        result_u32(dev_settings.flash_size);
        result_u32(dev_settings.flash_page);
        result_u32(dev_settings.flash_write);
        result_u32(DEV_HOOK_BASE);
        result_u32(DEV_HOOK_SIZE);
        result_u32(DEV_DATA_BASE);
        result_u32(dev_settings.data_size);
        result_u32(DEV_HEAP_BASE);
        result_u32(dev_settings.heap_size);
        result_u32(DEV_RAM_BASE);
        result_u32(dev_settings.ram_size);
        result_u32(DEV_MONITOR_BASE);
        result_u32(DEV_MONITOR_SIZE);
        result_u32(state_size());
        return;
    default:
        dev_fail("control: command %02x", name);
    }
}

static void serve_control(void)
{
    uint8_t head[5];
    uint32_t length;

    if (!read_all(head, sizeof head)) {
        exit(0);
    }
    length = get_u32(head + 1);
    if (length > sizeof request || !read_all(request, length)) {
        exit(0);
    }
    reply_due = true;
    command(head[0], request, length);
}

static void serve_stream(void)
{
    uint8_t bytes[4096];
    ssize_t n = read(client, bytes, sizeof bytes);

    if (n <= 0) {
        close(client);
        client = -1;
        return;
    }
    feed(bytes, (uint32_t)n, 1);
}

static void accept_client(void)
{
    const int one = 1;
    int fd = accept(listener, NULL, NULL);

    if (fd < 0) {
        return;
    }
    if (client >= 0) { /* like QEMU's chardev: one at a time, the newest */
        close(client);
    }
    client = fd;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void dev_serve(void)
{
    struct pollfd fds[3] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}, {.fd = -1, .events = POLLIN}};

    dev_settle(true);
    if (client >= 0) {
        const uint8_t *bytes;
        size_t length = dev_sent(&bytes);

        write_all(client, bytes, length);
        dev_sent_clear();
    } else if (listener >= 0) {
        dev_sent_clear();
    }
    if (reply_due) {
        send_reply();
    }
    if (listener < 0) {
        serve_control();
        return;
    }
    fds[2].fd = client;
    /* While the bootloader counts time (PLAIN images), it must be able to see it pass. */
    if (poll(fds, 3, dev.app_started != 0 ? -1 : 10) <= 0) {
        if (!dev_settings.realtime) {
            dev.micros += 10000;
        }
        return;
    }
    if (fds[1].revents != 0) {
        accept_client();
    } else if (fds[2].revents != 0) {
        serve_stream();
    } else if (fds[0].revents != 0) {
        serve_control();
    }
}

static void open_listener(const char *port)
{
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    address.sin_port = htons((uint16_t)strtoul(port, NULL, 0));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        dev_fail("cannot listen on port %s", port);
    }
    result_u32(ntohs(address.sin_port));
    reply_due = true; /* an answer that nobody asked for: the port's number */
}

static const struct { const char *name; uint32_t *value; } options[] = {
    {"--flash-size", &dev_settings.flash_size},
    {"--flash-page", &dev_settings.flash_page},
    {"--flash-write", &dev_settings.flash_write},
    {"--heap-size", &dev_settings.heap_size},
    {"--data-size", &dev_settings.data_size},
    {"--ram-size", &dev_settings.ram_size},
    {"--chunk", &dev_settings.chunk},
    {"--credits", &dev_settings.credits},
    {"--log-size", &dev_settings.log_size},
};

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool known = false;

        if (strcmp(argv[i], "--realtime") == 0) {
            dev_settings.realtime = true;
            continue;
        }
        if (strcmp(argv[i], "--mpu") == 0) {
            dev_settings.mpu = true;
            continue;
        }
        if (i + 1 < argc && strcmp(argv[i], "--listen") == 0) {
            open_listener(argv[++i]);
            continue;
        }
        for (size_t k = 0; i + 1 < argc && k < sizeof options / sizeof options[0]; k++) {
            if (strcmp(argv[i], options[k].name) == 0) {
                *options[k].value = (uint32_t)strtoul(argv[++i], NULL, 0);
                known = true;
                break;
            }
        }
        if (!known) {
            dev_fail("option %s", argv[i]);
        }
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    dev_map();
    state_init();
    state_power_lost();
    (void)setjmp(main_power_on);
    dev_interrupts_reset();
    state_boot();
}
