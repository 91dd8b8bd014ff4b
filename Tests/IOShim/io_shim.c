// Preloaded into chock (LD_PRELOAD), this counts each call that changes a file or makes it durable, and
// at chosen numbers kills the process, stops it or makes the call fail; it can also write down every
// such call with its bytes, so that a test can build what a power cut would have left.
//
//   IO_SHIM_UNDER=/folder   only it and what lies below it (a path without links)
//   IO_SHIM_ROLE=worker     only in a process whose argv[1] is this word
//   IO_SHIM_COUNTER=/file   the counter, in a file that is mapped: it survives a kill and goes on in the
//                           next process. Three little-endian 64-bit numbers: calls, armed, faults;
//                           behind them as text the last call at which something was done.
//   IO_SHIM_AT=N[,M...]     the calls, from 1 over all processes, before which something is done:
//   IO_SHIM_DO=kill|stop|hold|eio|enospc; `hold` lets only the calling thread wait, until `armed` is 2
//   IO_SHIM_FROM=1          not only at N, but at every call from N on
//   IO_SHIM_PHASE=apply     count only after run.json came to be in this phase
//   IO_SHIM_ONLY=run.json   count only what is done to files of this name; with a * at its end, whose
//                           name begins so
//   IO_SHIM_UNREADABLE=FILE:OFFSET:BYTES  storage that fails: pread(2) of any of these bytes gives EIO
//   IO_SHIM_LINKS=1         a test keeps other names of the files, which the process does not see
//   IO_SHIM_LOG=/file       one record a call that succeeded, in the order in which they took effect
//
// Only descriptors that name a regular file or folder within IO_SHIM_UNDER count, and of those not 0, 1
// and 2, and only calls that would change something: an open that creates or empties, an unlink of what
// is there. Nothing is remembered of a descriptor: /proc/self/fd knows the path that its file has now.
// System calls are made directly, in their "at" form, which every architecture has.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct counter {
  _Atomic uint64_t calls, armed, faults;
  char last[4096 - 3 * sizeof(uint64_t)];
};

static bool active, sticky;
static const char *under, *phase, *only;
static char unreadable[PATH_MAX];
static off64_t unreadable_offset, unreadable_bytes;
static struct counter own, *counter = &own;
static uint64_t at[16];
static int at_count, log_file = -1;
static enum { NOTHING, KILL, STOP, HOLD, FAIL_EIO, FAIL_ENOSPC } action;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(int argc, char **argv) {
  const char *role = getenv("IO_SHIM_ROLE");
  under = getenv("IO_SHIM_UNDER");
  if (!under || (role && (argc < 2 || strcmp(argv[1], role) != 0))) return;
  const char *text = getenv("IO_SHIM_AT");
  while (text && *text && at_count < 16) {
    char *end;
    at[at_count++] = strtoull(text, &end, 10);
    text = *end == ',' ? end + 1 : end == text ? NULL : end;
  }
  if ((text = getenv("IO_SHIM_DO")))
    action = !strcmp(text, "kill") ? KILL : !strcmp(text, "stop") ? STOP
           : !strcmp(text, "hold") ? HOLD : !strcmp(text, "eio") ? FAIL_EIO : !strcmp(text, "enospc") ? FAIL_ENOSPC : NOTHING;
  sticky = getenv("IO_SHIM_FROM") != NULL;
  phase = getenv("IO_SHIM_PHASE");
  only = getenv("IO_SHIM_ONLY");
  if ((text = getenv("IO_SHIM_COUNTER"))) {
    int file = syscall(SYS_openat, AT_FDCWD, text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_ftruncate, file, sizeof *counter)) abort();
    counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counter == MAP_FAILED) abort();
    syscall(SYS_close, file);
  }
  if ((text = getenv("IO_SHIM_LOG"))) {
    log_file = syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0) abort();
  }
  char *place = NULL;
  if ((text = getenv("IO_SHIM_UNREADABLE"))) {
    snprintf(unreadable, sizeof unreadable, "%s", text);
    place = strchr(unreadable, ':');
  }
  if (place) {
    *place = 0;
    unreadable_offset = strtoll(place + 1, &place, 10);
    unreadable_bytes = strtoll(place + 1, NULL, 10);
  }
  if (!phase) counter->armed = 1;
  active = true;
}

// With a log, a call and its record are one step for all threads and processes; a lock on the file goes
// with the process that is killed.
static void lock(void) {
  if (log_file < 0) return;
  pthread_mutex_lock(&mutex);
  while (flock(log_file, LOCK_EX) && errno == EINTR) {}
}

static void unlock(void) {
  if (log_file < 0) return;
  flock(log_file, LOCK_UN);
  pthread_mutex_unlock(&mutex);
}

static bool is_due(uint64_t call) {
  for (int i = 0; i < at_count; i++)
    if (call == at[i] || (sticky && call >= at[i])) return true;
  return false;
}

static bool has_name(const char *path, const char *name) {
  const char *last = strrchr(path, '/');
  size_t length = strlen(name);
  if (length && name[length - 1] == '*') return last && !strncmp(last + 1, name, length - 1);
  return last && !strcmp(last + 1, name);
}

// Counts a call. Returns its number (0 when it does not count), or -1 with errno when it is to fail. `grows`:
// a full disk refuses it; a full disk still lets files be removed, renamed, emptied and synced.
static int64_t begin(const char *name, const char *path, bool grows) {
  lock();
  if (!counter->armed || (only && !has_name(path, only))) return 0;
  uint64_t call = atomic_fetch_add(&counter->calls, 1) + 1;
  if (!is_due(call) || action == NOTHING || (action == FAIL_ENOSPC && !grows)) return call;
  atomic_fetch_add(&counter->faults, 1);
  snprintf(counter->last, sizeof counter->last, "%s %s", name, path);
  switch (action) {
  case KILL:
    for (;;) kill(getpid(), SIGKILL);
  case STOP:
    unlock();
    kill(getpid(), SIGSTOP);
    lock();
    return call;
  case HOLD:
    unlock();
    while (counter->armed != 2) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    lock();
    return call;
  default:
    unlock();
    errno = action == FAIL_EIO ? EIO : ENOSPC;
    return -1;
  }
}

static long end(long result) {
  int saved = errno;
  unlock();
  errno = saved;
  return result;
}

static void append(const void *bytes, size_t count) {
  while (count > 0) {
    ssize_t done = syscall(SYS_write, log_file, bytes, count);
    if (done < 0 && errno == EINTR) continue;
    // A log with a hole would prove nothing.
    if (done < 0) abort();
    bytes = (const char *)bytes + done;
    count -= (size_t)done;
  }
}

// NAME TAB CALL TAB DEVICE:INODE TAB FIELDS... NEWLINE; the file's number tells whose bytes they are
// when its path has changed or is gone.
__attribute__((format(printf, 4, 5))) static void record(
    const char *name, int64_t call, const struct stat *info, const char *format, ...) {
  if (log_file < 0) return;
  char line[3 * PATH_MAX];
  int used = snprintf(line, sizeof line, "%s\t%lld\t%llu:%llu\t", name, (long long)call,
                      (unsigned long long)info->st_dev, (unsigned long long)info->st_ino);
  va_list fields;
  va_start(fields, format);
  used += vsnprintf(line + used, sizeof line - (size_t)used - 1, format, fields);
  va_end(fields);
  line[used++] = '\n';
  append(line, (size_t)used);
}

// MARK: What counts

static bool is_within(const char *path) {
  size_t length = strlen(under);
  return strncmp(path, under, length) == 0 && (path[length] == '/' || path[length] == 0);
}

// A descriptor's file, and the path that it has now or had before it was removed.
static bool counts(int file, char path[PATH_MAX], struct stat *info) {
  if (!active || file <= STDERR_FILENO || fstat(file, info)) return false;
  if (!S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode)) return false;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return false;
  path[length] = 0;
  static const char removed[] = " (deleted)";
  if (info->st_nlink == 0 && (size_t)length > strlen(removed))
    path[(size_t)length - strlen(removed)] = 0;
  return is_within(path);
}

// The absolute form of a path argument.
static bool counts_at(int folder, const char *given, char path[PATH_MAX]) {
  if (!active) return false;
  if (given[0] == '/') {
    snprintf(path, PATH_MAX, "%s", given);
  } else {
    char link[64] = "/proc/self/cwd", base[PATH_MAX];
    if (folder != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return false;
    base[length] = 0;
    if (snprintf(path, PATH_MAX, "%s/%s", base, given) >= PATH_MAX) return false;
  }
  return is_within(path);
}

// The word of the top-level member "phase": the run inside has one of that name too.
static bool journal_is_in(const char *wanted, const char *path) {
  char text[65536];
  int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
  if (file >= 0) syscall(SYS_close, file);
  if (length < 0) return false;
  text[length] = 0;
  int depth = 0;
  bool is_next = false;
  for (char *p = text; *p; p++) {
    if (*p == '{' || *p == '[') depth++;
    if (*p == '}' || *p == ']') depth--;
    if (*p != '"') continue;
    char *word = ++p;
    while (*p && *p != '"') p += *p == '\\' && p[1] ? 2 : 1;
    size_t count = (size_t)(p - word);
    if (is_next) return count == strlen(wanted) && !strncmp(word, wanted, count);
    is_next = depth == 1 && p[1] && count == 5 && !strncmp(word, "phase", 5)
      && p[1 + strspn(p + 1, " ")] == ':';
    if (!*p) break;
  }
  return false;
}

// MARK: Opening

static int do_open(int folder, const char *given, int flags, mode_t mode) {
  char path[PATH_MAX];
  struct stat info;
  const char *name = NULL;
  if ((flags & (O_CREAT | O_TRUNC)) && counts_at(folder, given, path)) {
    bool is_there = stat(path, &info) == 0;
    if (!is_there && (flags & O_CREAT)) name = "create";
    if (is_there && S_ISREG(info.st_mode) && info.st_size > 0 && (flags & O_TRUNC)
        && !(flags & O_EXCL)) name = "open-trunc";
  }
  if (!name) return (int)syscall(SYS_openat, folder, given, flags, mode);
  int64_t call = begin(name, path, name[0] == 'c');
  if (call < 0) return -1;
  int file = (int)syscall(SYS_openat, folder, given, flags, mode);
  if (file >= 0 && fstat(file, &info) == 0) record(name, call, &info, "%s", path);
  return (int)end(file);
}

#define OPEN(folder, path, flags)                    \
  mode_t mode = 0;                                   \
  if ((flags) & (O_CREAT | O_TMPFILE)) {             \
    va_list rest;                                    \
    va_start(rest, flags);                           \
    mode = va_arg(rest, mode_t);                     \
    va_end(rest);                                    \
  }                                                  \
  return do_open(folder, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int openat(int folder, const char *path, int flags, ...) { OPEN(folder, path, flags); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(folder, path, flags); }
int creat(const char *path, mode_t mode) {
  return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

// MARK: Writing

static void record_write(int64_t call, const struct stat *info, const char *path, off_t offset,
                         const struct iovec *parts, ssize_t done) {
  record("write", call, info, "%s\t%lld\t%zd", path, (long long)offset, done);
  for (; log_file >= 0 && done > 0; parts++) {
    size_t count = parts->iov_len < (size_t)done ? parts->iov_len : (size_t)done;
    append(parts->iov_base, count);
    done -= (ssize_t)count;
  }
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts(file, path, &info)) return syscall(SYS_writev, file, parts, count);
  int64_t call = begin("write", path, true);
  if (call < 0) return -1;
  ssize_t done = syscall(SYS_writev, file, parts, count);
  // Also right for a file that is appended to.
  if (done > 0) record_write(call, &info, path, lseek(file, 0, SEEK_CUR) - done, parts, done);
  return end(done);
}

ssize_t write(int file, const void *bytes, size_t count) {
  // Not always through writev: a child between fork and exec writes to pipes only.
  struct iovec part = {(void *)bytes, count};
  return active ? writev(file, &part, 1) : syscall(SYS_write, file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts(file, path, &info)) return syscall(SYS_pwrite64, file, bytes, count, offset);
  int64_t call = begin("write", path, true);
  if (call < 0) return -1;
  ssize_t done = syscall(SYS_pwrite64, file, bytes, count, offset);
  if (done > 0) record_write(call, &info, path, offset, &(struct iovec){(void *)bytes, count}, done);
  return end(done);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
  return pwrite64(file, bytes, count, offset);
}

int ftruncate64(int file, off64_t length) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts(file, path, &info) || info.st_size == length)
    return (int)syscall(SYS_ftruncate, file, length);
  int64_t call = begin("truncate", path, length > info.st_size);
  if (call < 0) return -1;
  int result = (int)syscall(SYS_ftruncate, file, length);
  if (result == 0) record("truncate", call, &info, "%s\t%lld", path, (long long)length);
  return (int)end(result);
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int do_sync(int file, long number) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts(file, path, &info)) return (int)syscall(number, file);
  const char *name = S_ISDIR(info.st_mode) ? "fsyncdir" : "fsync";
  int64_t call = begin(name, path, false);
  if (call < 0) return -1;
  int result = (int)syscall(number, file);
  if (result == 0) record(name, call, &info, "%s", path);
  return (int)end(result);
}

int fsync(int file) { return do_sync(file, SYS_fsync); }
int fdatasync(int file) { return do_sync(file, SYS_fdatasync); }

// MARK: Reading

ssize_t pread64(int file, void *bytes, size_t count, off64_t offset) {
  char path[PATH_MAX];
  struct stat info;
  if (unreadable_bytes > 0 && counts(file, path, &info) && !strcmp(path, unreadable)
      && offset < unreadable_offset + unreadable_bytes && unreadable_offset < offset + (off64_t)count) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_pread64, file, bytes, count, offset);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
  return pread64(file, bytes, count, offset);
}

// MARK: Names

int renameat(int old_folder, const char *old, int folder, const char *new) {
  char from[PATH_MAX], to[PATH_MAX];
  struct stat info;
  // Both are looked at: a file that comes from elsewhere, or goes there, counts too.
  bool is_ours = counts_at(old_folder, old, from) | counts_at(folder, new, to);
  if (!is_ours || lstat(from, &info))
    return (int)syscall(SYS_renameat2, old_folder, old, folder, new, 0);
  int64_t call = begin("rename", to, false);
  if (call < 0) return -1;
  int result = (int)syscall(SYS_renameat2, old_folder, old, folder, new, 0);
  if (result == 0) {
    record("rename", call, &info, "%s\t%s", from, to);
    if (phase && !counter->armed && has_name(to, "run.json") && journal_is_in(phase, to))
      counter->armed = 1;
  }
  return (int)end(result);
}

int stat(const char *path, struct stat *info) {
  int result = fstatat(AT_FDCWD, path, info, 0);
  if (result == 0 && active && getenv("IO_SHIM_LINKS") && S_ISREG(info->st_mode) && info->st_nlink > 1)
    info->st_nlink = 1;
  return result;
}

int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

int linkat(int old_folder, const char *old, int folder, const char *new, int flags) {
  char from[PATH_MAX], to[PATH_MAX];
  struct stat info;
  if (!counts_at(folder, new, to) || lstat(to, &info) == 0)
    return (int)syscall(SYS_linkat, old_folder, old, folder, new, flags);
  counts_at(old_folder, old, from);
  int64_t call = begin("link", to, true);
  if (call < 0) return -1;
  int result = (int)syscall(SYS_linkat, old_folder, old, folder, new, flags);
  if (result == 0 && stat(to, &info) == 0) record("link", call, &info, "%s\t%s", from, to);
  return (int)end(result);
}

int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int folder, const char *given, int flags) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts_at(folder, given, path) || lstat(path, &info))
    return (int)syscall(SYS_unlinkat, folder, given, flags);
  const char *name = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
  int64_t call = begin(name, path, false);
  if (call < 0) return -1;
  int result = (int)syscall(SYS_unlinkat, folder, given, flags);
  if (result == 0) record(name, call, &info, "%s", path);
  return (int)end(result);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *given, mode_t mode) {
  char path[PATH_MAX];
  struct stat info;
  if (!counts_at(folder, given, path) || lstat(path, &info) == 0)
    return (int)syscall(SYS_mkdirat, folder, given, mode);
  int64_t call = begin("mkdir", path, true);
  if (call < 0) return -1;
  int result = (int)syscall(SYS_mkdirat, folder, given, mode);
  if (result == 0 && stat(path, &info) == 0) record("mkdir", call, &info, "%s", path);
  return (int)end(result);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
