// Which pages a transaction has changed, read from the write-ahead log that it has written
// (<https://sqlite.org/walformat.html>), through the files that SQLite itself has open: opening the
// database's files once more would drop SQLite's locks when they are closed.
#include "CSQLite.h"
#include <stdlib.h>
#include <string.h>

static uint32_t big_endian(const unsigned char *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

int chock_changed_pages(sqlite3 *db, void (*found)(void *context, uint32_t page), void *context) {
  // What is still in memory goes to the log; the transaction stays open.
  int code = sqlite3_db_cacheflush(db);
  if (code != SQLITE_OK) return code;
  sqlite3_file *database = NULL, *log = NULL;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &database);
  sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (!database || !database->pMethods || database->pMethods->iVersion < 2 || !database->pMethods->xShmMap
      || !log || !log->pMethods) {
    return SQLITE_NOTFOUND;
  }

  // The header of the index in shared memory: how many frames are committed. We hold the write lock,
  // so nobody else changes it, and our own frames come behind.
  void volatile *index = NULL;
  code = database->pMethods->xShmMap(database, 0, 32768, 0, &index);
  if (code != SQLITE_OK || !index) return code == SQLITE_OK ? SQLITE_NOTFOUND : code;
  uint32_t committed;
  memcpy(&committed, (const char *)index + 16, sizeof committed);

  unsigned char header[32];
  sqlite3_int64 size = 0;
  code = log->pMethods->xFileSize(log, &size);
  if (code != SQLITE_OK) return code;
  // Nothing was written yet, so nothing was changed.
  if (size < (sqlite3_int64)sizeof header) return SQLITE_OK;
  code = log->pMethods->xRead(log, header, sizeof header, 0);
  if (code != SQLITE_OK) return code;
  sqlite3_int64 page_size = big_endian(header + 8);
  if (page_size < 512 || page_size > 65536) return SQLITE_NOTFOUND;
  const sqlite3_int64 frame_size = 24 + page_size;
  for (sqlite3_int64 at = 32 + committed * frame_size; at + frame_size <= size; at += frame_size) {
    unsigned char frame[24];
    code = log->pMethods->xRead(log, frame, sizeof frame, at);
    if (code != SQLITE_OK) return code;
    // Frames of an older log lie behind ours. Those of a transaction that was rolled back carry the
    // same salt and count as ours: more pages than were changed, never fewer.
    if (memcmp(frame + 8, header + 16, 8) != 0) break;
    found(context, big_endian(frame));
  }
  return SQLITE_OK;
}
