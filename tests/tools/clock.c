/* A wall clock that jumps. The lab loads this library into the programs of its VMs: the time of day is the machine's
 * and as many seconds more as the file says, and the machine's without one. Monotonic clocks stay the machine's, because
 * nobody sets those. Each look reads the file, so that a jump befalls all processes of a VM at once, in the middle of
 * whatever they do.
 *
 * Debian's libfaketime also takes the calls that wait, and makes clock_nanosleep fail where it leaves monotonic clocks
 * alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define JUMP "/etc/clock-jump"

static time_t jump(void) {
    int before = errno;
    time_t seconds = 0;
    int file = open(JUMP, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        char text[32];
        ssize_t length = read(file, text, sizeof text - 1);
        if (length > 0) {
            text[length] = '\0';
            seconds = strtol(text, NULL, 10);
        }
        close(file);
    }
    errno = before;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += jump();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = (int)syscall(SYS_gettimeofday, now, zone);
    if (!failed) now->tv_sec += jump();
    return failed;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
