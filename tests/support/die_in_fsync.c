/* Preloaded into an application: kills it inside the sync of its commit, after the commit frame has reached the
   WAL and before the wal-index knows of it. SQLite will overwrite that transaction; a replica must not hold it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int syncs_left = -1;

static void sync_of(int fd) {
    char link[64], path[PATH_MAX + 1];
    ssize_t length;
    if (syncs_left < 0) {
        const char *count = getenv("DIE_IN_SYNC");
        syncs_left = count ? atoi(count) : INT_MAX;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, PATH_MAX);
    if (length < 4) return;
    path[length] = 0;
    if (strcmp(path + length - 4, "-wal") != 0) return;
    if (--syncs_left <= 0) kill(getpid(), SIGKILL);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    sync_of(fd);
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    sync_of(fd);
    return real(fd);
}
