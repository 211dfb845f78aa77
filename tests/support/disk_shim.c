/* Put before libc by LD_PRELOAD. Under the folder VLP_SHIM_ROOT it writes every write and every sync that succeeded to
   the file VLP_SHIM_LOG, and says that the disk is full while the file VLP_SHIM_FULL is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_ours(int fd, char *path) {
    char link[64];
    const char *root = getenv("VLP_SHIM_ROOT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (root == NULL || length < 0) return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0;
}

static int is_full(void) {
    const char *flag = getenv("VLP_SHIM_FULL");
    return flag != NULL && access(flag, F_OK) == 0;
}

static void note(const char *what, const char *path) {
    static ssize_t (*real_write)(int, const void *, size_t);
    static int log_fd = -1;
    const char *name = getenv("VLP_SHIM_LOG");
    char line[PATH_MAX + 16];
    if (name == NULL) return;
    if (real_write == NULL) real_write = dlsym(RTLD_NEXT, "write");
    if (log_fd < 0) log_fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    if (real_write(log_fd, line, (size_t)length) < 0) abort();
}

#define SYNC(name)                                              \
    int name(int fd) {                                          \
        static int (*real)(int);                                \
        char path[PATH_MAX];                                    \
        if (real == NULL) real = dlsym(RTLD_NEXT, #name);       \
        int result = real(fd);                                  \
        if (result == 0 && is_ours(fd, path)) note("sync", path); \
        return result;                                          \
    }

#define WRITE(name, declared, passed)                               \
    ssize_t name declared {                                         \
        static ssize_t (*real) declared;                            \
        char path[PATH_MAX];                                        \
        if (real == NULL) real = dlsym(RTLD_NEXT, #name);           \
        int ours = is_ours(fd, path);                               \
        if (ours && is_full()) {                                    \
            errno = ENOSPC;                                         \
            return -1;                                              \
        }                                                           \
        ssize_t result = real passed;                               \
        if (result >= 0 && ours) note("write", path);               \
        return result;                                              \
    }

SYNC(fsync)
SYNC(fdatasync)
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
