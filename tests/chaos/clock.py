"""
A wall clock that is wrong, for one process: a few lines of C that the loader puts before libc.

Only the wall clock; what measures durations goes on. Where there is no C compiler there is no such
clock, and the report says that the fault was left out.
"""

import shutil
import subprocess
from pathlib import Path

OFFSET = "CHAOS_CLOCK_OFFSET"

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
    const char *seconds = getenv("CHAOS_CLOCK_OFFSET");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result == 0 && clock == CLOCK_REALTIME) at->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


def library(folder: Path) -> Path | None:
    """Compile it into the folder; None where that is not possible."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, target = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE, encoding="utf-8")
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", target, source, "-ldl"],
        check=False,
        capture_output=True,
    )
    return target if done.returncode == 0 else None


def environment(library: Path | None, seconds: int) -> dict[str, str]:
    """Return what makes a process start with a clock that is so far ahead."""
    if library is None or seconds == 0:
        return {}
    return {"LD_PRELOAD": str(library), OFFSET: str(seconds)}
