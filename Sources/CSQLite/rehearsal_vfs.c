// The file system of a rehearsal: the database is only read, and what the rehearsal changes lives in a
// write-ahead log beside it, which is thrown away. So a rehearsal needs no copy of the database.
//
// It is the system's own SQLite file system (<https://sqlite.org/vfs.html>) with three differences:
// - The database file is opened read-only, whatever was asked for, so that not even a bug can change it.
// - Its header says that it is in WAL mode (bytes 18 and 19, <https://sqlite.org/fileformat2.html>), so that
//   SQLite writes to the log and not to the file.
// - Temporary files are counted: SQLite removes their names at once, so nobody else can see their size.
#include "CSQLite.h"
#include <stddef.h>

const char *const chock_rehearsal_vfs = "chock-rehearsal";

// The rehearsal's file system, and the one that it stands on.
static sqlite3_vfs rehearsal;
static sqlite3_vfs *system_vfs;

// What is kept behind the system's own part of an open file.
typedef struct {
  const sqlite3_io_methods *system;
  sqlite3_io_methods own;
  sqlite3_int64 size;
} extra;

static extra *extra_of(sqlite3_file *file) {
  return (extra *)((char *)file + system_vfs->szOsFile);
}

// MARK: The database

static int read_database(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
  int code = extra_of(file)->system->xRead(file, bytes, count, offset);
  for (sqlite3_int64 at = 18; code == SQLITE_OK && at <= 19; at++) {
    if (offset <= at && at < offset + count) ((unsigned char *)bytes)[at - offset] = 2;
  }
  return code;
}

static int refuse_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
  (void)file, (void)bytes, (void)count, (void)offset;
  return SQLITE_READONLY;
}

static int refuse_truncate(sqlite3_file *file, sqlite3_int64 size) {
  (void)file, (void)size;
  return SQLITE_READONLY;
}

// MARK: Temporary files

// Of a thread, since a connection and its temporary files are used from one thread.
static _Thread_local struct { sqlite3_int64 now, peak; } temporary;

static void set_size(extra *it, sqlite3_int64 size) {
  temporary.now += size - it->size;
  it->size = size;
  if (temporary.now > temporary.peak) temporary.peak = temporary.now;
}

static int write_temporary(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
  extra *it = extra_of(file);
  if (offset + count > it->size) set_size(it, offset + count);
  return it->system->xWrite(file, bytes, count, offset);
}

static int truncate_temporary(sqlite3_file *file, sqlite3_int64 size) {
  extra *it = extra_of(file);
  if (size < it->size) set_size(it, size);
  return it->system->xTruncate(file, size);
}

static int close_temporary(sqlite3_file *file) {
  extra *it = extra_of(file);
  set_size(it, 0);
  return it->system->xClose(file);
}

sqlite3_int64 chock_take_temporary_peak(void) {
  sqlite3_int64 peak = temporary.peak;
  temporary.peak = temporary.now;
  return peak;
}

// MARK: Opening

static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *given) {
  (void)vfs;
  const int database = SQLITE_OPEN_MAIN_DB;
  const int temporaries = SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_TEMP_JOURNAL | SQLITE_OPEN_SUBJOURNAL;
  int wanted = flags;
  if (flags & database) {
    wanted = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
  }
  int code = system_vfs->xOpen(system_vfs, name, file, wanted, given);
  if (code != SQLITE_OK || file->pMethods == NULL) return code;
  if (!(flags & (database | temporaries))) return code;

  extra *it = extra_of(file);
  it->system = file->pMethods;
  it->own = *file->pMethods;
  it->size = 0;
  if (flags & database) {
    it->own.xRead = read_database;
    it->own.xWrite = refuse_write;
    it->own.xTruncate = refuse_truncate;
    // Version 3 would let SQLite map the file, and so read the header as it is.
    if (it->own.iVersion > 2) it->own.iVersion = 2;
    if (given) *given = (*given & ~SQLITE_OPEN_READONLY) | SQLITE_OPEN_READWRITE;
  } else {
    it->own.xWrite = write_temporary;
    it->own.xTruncate = truncate_temporary;
    it->own.xClose = close_temporary;
    if (it->own.iVersion > 2) it->own.iVersion = 2;
  }
  file->pMethods = &it->own;
  return SQLITE_OK;
}

int chock_register_rehearsal_vfs(void) {
  int code = sqlite3_initialize();
  if (code != SQLITE_OK) return code;
  sqlite3_mutex *lock = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
  sqlite3_mutex_enter(lock);
  if (system_vfs == NULL) {
    system_vfs = sqlite3_vfs_find(NULL);
    if (system_vfs == NULL) {
      code = SQLITE_ERROR;
    } else {
      rehearsal = *system_vfs;
      rehearsal.zName = chock_rehearsal_vfs;
      rehearsal.pNext = NULL;
      // Behind the system's own part, at an address that suits any type.
      rehearsal.szOsFile = system_vfs->szOsFile + (int)sizeof(extra);
      rehearsal.xOpen = open_file;
      code = sqlite3_vfs_register(&rehearsal, 0);
    }
  }
  sqlite3_mutex_leave(lock);
  return code;
}
